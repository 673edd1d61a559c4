import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from vlmad_core.contracts import Layers, resolve_layer, resolve_layers
from vlmad_core.errors import IncompatibleError


@pytest.mark.parametrize(
    ("layers", "depth", "numbers"),
    [
        ([-1], 12, (12,)),
        ([12, -12, 3, 3], 12, (1, 3, 12)),
        ("quarters", 12, (3, 6, 9, 12)),
        ("quarters", 24, (6, 12, 18, 24)),
        ("quarters", 3, (1, 2, 3)),
        ("quarters", 1, (1,)),
        ("57.5%-72.5%", 40, (23, 24, 25, 26, 27, 28, 29)),  # SubspaceAD's own tower
        ("57.5%-72.5%", 12, (7, 8)),
        ("57.5%-72.5%", 24, (14, 15, 16, 17)),
        ("57.5%-72.5%", 1, (1,)),
        ("57.5%-72.5%,100%-100%", 12, (7, 8, 12)),  # several ranges
        ("60%-61%", 4, (2,)),  # none lies in it: the nearest to the middle
        ("0%-100%", 3, (1, 2, 3)),
    ],
)
def test_blocks_are_numbered_from_one_and_each_once(layers, depth, numbers):
    assert resolve_layers(layers, depth) == numbers


@pytest.mark.parametrize("layers", [[0], [13], [-13], [1, 99], []])
def test_blocks_beyond_the_tower_are_refused(layers):
    with pytest.raises(IncompatibleError, match=r"is beyond this tower; it has blocks 1 to 12, -1 being the last\."):
        resolve_layers(layers, 12)


@pytest.mark.parametrize("layers", ["halves", "80%-20%", "10%-120%", "5-7"])
def test_text_that_names_no_blocks_is_refused(layers):
    with pytest.raises(IncompatibleError, match="names no blocks"):
        resolve_layers(layers, 12)


def test_one_block_is_named_in_the_error():
    assert resolve_layer(-2, 12, option="start") == 11
    with pytest.raises(IncompatibleError, match="start 0 is beyond this tower"):
        resolve_layer(0, 12, option="start")


class Options(BaseModel):
    layers: Layers = (-1,)


def test_the_option_accepts_numbers_quarters_and_ranges():
    assert Options().layers == (-1,)
    assert Options(layers=[3, 6]).layers == (3, 6)
    for text in ("quarters", "57.5%-72.5%"):
        assert Options(layers=text).layers == text
    for wrong in ("half", 3, [], [1.5], [True], None, {"a": 1}):
        with pytest.raises(ValidationError, match=r"give numbers of blocks such as \[6, 12\]") as error:
            Options(layers=wrong)
        assert error.value.error_count() == 1


def test_options_import_no_torch():
    code = "import sys; from vlmad_core.contracts import Layers; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"

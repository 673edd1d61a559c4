"""Published checkpoints are read for their tensors alone; anything else is refused in a sentence."""

import hashlib
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_april_gan.checkpoint import convert
from vlmad_core.testing import tiny_backbone

WIDTH, DIM, TAPS = 32, 16, 3


def layers(count=TAPS, width=WIDTH, dim=DIM, dtype=torch.float32):
    draws = torch.Generator().manual_seed(0)
    made = OrderedDict()
    for i in range(count):
        made[f"fc.{i}.weight"] = torch.randn(dim, width, generator=draws).to(dtype)
        made[f"fc.{i}.bias"] = torch.randn(dim, generator=draws).to(dtype)
    return made


def write(path, data):
    torch.save(data, path)
    return path


def checkpoint(path, **changes):
    """A file of the authors' layout, with some of it changed; None removes."""
    made = layers()
    for name, value in changes.items():
        name = name.replace("_", ".")
        made.pop(name, None)
        if value is not None:
            made[name] = value
    return write(path, {"trainable_linearlayer": made})


def test_a_checkpoint_fills_a_detector(tmp_path):
    tensors = convert(write(tmp_path / "visa.pth", {"trainable_linearlayer": layers()}))
    detector = vlmad_core.build("april-gan", backbone=tiny_backbone())
    learned = {name for name, _ in detector.named_parameters()}
    assert set(tensors) == learned
    detector.load_state_dict(tensors, strict=False)
    for name, value in layers().items():
        assert torch.equal(detector.get_parameter(f"extractor.{name}"), value)


def test_a_module_saved_as_the_authors_code_saves_it_is_read(tmp_path):
    class LinearLayer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.ModuleList(torch.nn.Linear(1024, 768) for _ in range(4))

    module = LinearLayer()
    tensors = convert(write(tmp_path / "mvtec.pth", {"trainable_linearlayer": module.state_dict()}))
    assert sum(tensor.numel() for tensor in tensors.values()) == 3_148_800
    assert all(torch.equal(tensors[f"extractor.{name}"], value) for name, value in module.state_dict().items())


def test_half_precision_becomes_float32_and_other_keys_are_left_out(tmp_path):
    data = {"trainable_linearlayer": layers(dtype=torch.float16), "epoch": 3}
    tensors = convert(write(tmp_path / "half.pth", data))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert len(tensors) == 2 * TAPS


def test_old_files_that_are_no_zip_are_read(tmp_path):
    torch.save({"trainable_linearlayer": layers()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert len(convert(tmp_path / "old.pth")) == 2 * TAPS


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fc_1_bias": None}, "lacks fc.1.bias; 3 linear maps need a weight and a bias each"),
        ({"fc_0_weight": None}, "lacks fc.0.weight"),
        ({"fc_5_bias": torch.zeros(DIM)}, "lacks fc.3.weight, fc.3.bias, fc.4.weight"),
        ({"fc_1_weight": torch.zeros(DIM, WIDTH + 1)}, r"fc.1.weight has shape [16, 33]; it should have [16, 32]"),
        ({"fc_2_bias": torch.zeros(DIM - 1)}, "fc.2.bias has shape [15]; it should have [16]"),
        ({"fc_0_weight": torch.zeros(DIM)}, "fc.0.weight has shape [16]; it should have [D, W]"),
        ({"fc_0_bias": torch.full((DIM,), torch.nan)}, "fc.0.bias holds numbers that are not finite floats"),
        ({"fc_0_bias": torch.zeros(DIM, dtype=torch.int64)}, "fc.0.bias holds numbers that are not finite floats"),
        ({"fc_0_bias": [0.0] * DIM}, "holds 'fc.0.bias'; it should hold the tensors fc.N.weight and fc.N.bias alone"),
        ({"ctx_pos": torch.zeros(3)}, "holds 'ctx.pos'"),
        ({"fc_01_bias": torch.zeros(DIM)}, "holds 'fc.01.bias'"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, changes, said):
    with pytest.raises(vlmad_core.errors.ConfigError) as error:
        convert(checkpoint(tmp_path / "wrong.pth", **changes))
    assert said in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "wrong.pth"))
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    "data", [layers(), {"trainable_linearlayer": [1]}, [torch.zeros(1)], torch.zeros(1), {"prompt_learner": {}}]
)
def test_another_layout_is_refused(tmp_path, data):
    with pytest.raises(vlmad_core.errors.ConfigError, match="is not an APRIL-GAN checkpoint"):
        convert(write(tmp_path / "other.pth", data))


def test_a_mapping_without_maps_is_refused(tmp_path):
    with pytest.raises(vlmad_core.errors.ConfigError, match="'trainable_linearlayer' is empty"):
        convert(write(tmp_path / "empty.pth", {"trainable_linearlayer": {}}))


class Malicious:
    """Writes a file when it is unpickled by someone who trusts it."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (Path.touch, (Path(self.target),))


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, how):
    trap, path = tmp_path / "sprung", tmp_path / "trap.pth"
    data = {"trainable_linearlayer": layers(), "extra": Malicious(trap)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(data))
    else:
        torch.save(data, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(vlmad_core.errors.ConfigError, match="could run code that is in it, so it is refused"):
        convert(path)
    assert not trap.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert trap.exists()  # the trap was a real one


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "broken.pth").write_bytes(content)
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"broken\.pth: .*(damaged|no checkpoint)"):
        convert(tmp_path / "broken.pth")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_half_a_file_is_refused(tmp_path, share):
    whole = checkpoint(tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"half\.pth: .*(damaged|no checkpoint)"):
        convert(tmp_path / "half.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_is_refused_in_a_sentence_or_does_not_matter(tmp_path, zipped):
    path, draws = tmp_path / "damaged.pth", np.random.default_rng(0)
    torch.save({"trainable_linearlayer": layers(1, 4, 3)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    refused = 0
    for _ in range(200):
        content = bytearray(whole)
        for place in draws.integers(len(content), size=4):
            content[place] = draws.integers(256)
        path.write_bytes(content)
        try:
            assert {name: tuple(tensor.shape) for name, tensor in convert(path).items()} == {
                "extractor.fc.0.weight": (3, 4),
                "extractor.fc.0.bias": (3,),
            }
        except vlmad_core.errors.ConfigError as error:
            assert str(error).endswith(".")
            refused += 1
    assert refused > 20


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"nowhere\.pth: cannot be read \(No such file"):
        convert(tmp_path / "nowhere.pth")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(vlmad_core.errors.ConfigError, match="cannot be read"):
        convert(tmp_path)


def test_arrays_of_numpy_are_not_tensors(tmp_path):
    with pytest.raises(vlmad_core.errors.ConfigError):
        convert(checkpoint(tmp_path / "numpy.pth", fc_0_bias=np.zeros(DIM)))


@pytest.mark.parametrize("recipe", ["april-gan", "april-gan-few-shot"])
def test_an_imported_detector_remembers_where_it_comes_from(tmp_path, recipe):
    backbone, path = tiny_backbone(), checkpoint(tmp_path / "visa.pth")
    detector = vlmad_core.build(recipe, backbone=backbone)
    vlmad_core.import_checkpoint(detector, path, recipe=recipe, trained_on="visa", epoch=15)
    loaded = vlmad_core.load(detector.save(tmp_path / "saved"), backbone=backbone)
    assert loaded.was_trained_on("VisA") and not loaded.was_trained_on("mvtec-ad")
    assert loaded.trained["epoch"] == 15 and "APRIL-GAN" in loaded.trained["paper"]
    assert loaded.trained["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, value in layers().items():
        assert torch.equal(loaded.get_parameter(f"extractor.{name}"), value)


def test_a_checkpoint_for_another_tower_is_refused(tmp_path):
    detector = vlmad_core.build("april-gan", backbone=tiny_backbone(width=64))
    with pytest.raises(
        vlmad_core.errors.ConfigError, match=r"fc\.0\.weight has shape \[16, 32\], and here it is \[16, 64\]"
    ):
        vlmad_core.import_checkpoint(detector, checkpoint(tmp_path / "x.pth"), recipe="april-gan", trained_on="visa")


def test_a_checkpoint_with_fewer_taps_is_refused(tmp_path):
    path = write(tmp_path / "x.pth", {"trainable_linearlayer": layers(2)})
    with pytest.raises(
        vlmad_core.errors.ConfigError, match=r"extractor\.fc\.2\.weight, extractor\.fc\.2\.bias is missing"
    ):
        vlmad_core.import_checkpoint(
            vlmad_core.build("april-gan", backbone=tiny_backbone()), path, recipe="april-gan", trained_on="visa"
        )

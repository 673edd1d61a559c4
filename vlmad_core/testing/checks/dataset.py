"""Rules of a data set's reader: it lists files, refuses in sentences, and changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vlmad_core.datasets.base import Dataset, DatasetInfo, LayoutMatch, Sample
from vlmad_core.errors import ConfigError
from vlmad_core.testing.rules import CheckFailed, check, require

if TYPE_CHECKING:
    from vlmad_core.testing.cases import DatasetCase

_SPLITS = ("train", "validation", "test")


@check("dataset")
def describes_its_layout(case: DatasetCase) -> None:
    """``tree`` shows the layout in one line; ``facts``, where there are any, say title, home and licence."""
    reader = case.make()
    tree = reader.tree
    require(tree and "\n" not in tree, "tree is empty, or not one line; show the layout, such as 'KIND/IMAGE.png'.")
    facts = reader.facts
    whole = facts is None or (isinstance(facts, DatasetInfo) and facts.title and facts.home and facts.licence)
    require(whole, "facts lacks title, home or licence; fill them, or leave facts = None.")


@check("dataset")
def fits_nothing_that_is_not_there(case: DatasetCase) -> None:
    """An empty folder, and a path that is not there, do not fit."""
    reader = case.make()
    with tempfile.TemporaryDirectory() as folder:
        for root in (Path(folder), Path(folder) / "nowhere"):
            try:
                fit = reader.fits(root)
            except Exception as error:
                raise CheckFailed(
                    f"fits() stops with {type(error).__name__}: {error}; return Fit.NO for what is not there."
                ) from error
            what = "an empty folder" if root.exists() else "a path that is not there"
            require(fit == LayoutMatch.NO, f"fits() says {fit!r} to {what}; return Fit.NO unless files prove it.")


@check("dataset")
def refuses_an_empty_folder(case: DatasetCase) -> None:
    """``read`` of an empty folder raises ConfigError with a sentence that names the folder."""
    reader = case.make()
    with tempfile.TemporaryDirectory() as folder:
        try:
            reader.read(Path(folder))
        except ConfigError as error:
            text = str(error)
            require(folder in text and text.endswith("."), f"it says '{text}'; name the folder, in a whole sentence.")
            return
        except Exception as error:
            raise CheckFailed(
                f"an empty folder stops it with {type(error).__name__}: {error}; raise ConfigError with a sentence."
            ) from error
    raise CheckFailed("it reads a data set from an empty folder; raise ConfigError that says what was looked for.")


@check("dataset")
def reads_without_torch(case: DatasetCase) -> None:
    """Importing the reader imports no torch, since `vlmad data show` only lists files."""
    module = case.entry.component.target.partition(":")[0]
    script = (
        "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps('torch' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {script}", module],
        capture_output=True,
        text=True,
        check=False,
    )
    heavy = done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])
    require(not heavy, f"importing {module} imports torch; import it inside the function that needs it.")


@check("dataset", needs="example")
def fits_its_example(case: DatasetCase) -> None:
    """The example fits."""
    fit = case.make().fits(case.root)
    require(
        fit > LayoutMatch.NO, f"fits({case.root}) says {fit!r}; return Fit.FORM or Fit.KNOWN for what read() can read."
    )


@check("dataset", needs="example")
def reads_its_example(case: DatasetCase) -> None:
    """The example gives samples with images and masks that are there, a split, a category and a label."""
    found = _read(case)
    require(isinstance(found, Dataset), f"read gives {type(found).__name__}; it must give a Dataset.")
    require(len(found) > 0, "read gives no sample of the example; raise ConfigError where there are none.")
    for sample in found:
        require(isinstance(sample, Sample), f"samples holds {sample!r}; it must hold Sample alone.")
        for source in (sample.image, *sample.masks):
            there = not isinstance(source, str | Path) or Path(source).is_file()
            require(there, f"{source} is no file; join the folder and the name.")
        require(sample.split in _SPLITS, f"{sample.image} has split '{sample.split}'; take {', '.join(_SPLITS)}.")
        require(sample.category, f"{sample.image} has no category; name what it shows.")
        known = sample.label in (True, False, None)
        require(known, f"{sample.image} has label {sample.label!r}; take True for defective, False, or None.")


@check("dataset", needs="example")
def reads_in_a_fixed_order(case: DatasetCase) -> None:
    """Read twice, the samples are the same in the same order."""
    same = _read(case).samples == _read(case).samples
    require(same, "read twice, the samples differ; sort what the disk lists, and draw no random numbers.")


@check("dataset", needs="example")
def changes_nothing_on_the_disk(case: DatasetCase) -> None:
    """Reading writes, renames and deletes nothing."""
    assert case.root is not None
    before = _listing(case.root)
    _read(case)
    require(before == _listing(case.root), "reading changes files of the data set; keep what you compute in memory.")


def _read(case: DatasetCase) -> Dataset:
    assert case.root is not None
    found: Dataset = case.make().read(case.root)
    return found


def _listing(root: Path) -> dict[Path, tuple[int, int]]:
    files = [root, *root.rglob("*")]
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files if "__pycache__" not in file.parts}

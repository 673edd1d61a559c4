"""What `pip install vlmad-core` alone must be able to do: run by tests, in environments that hold nothing else."""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import vlmad_core
from vlmad_core.cli.__main__ import main
from vlmad_core.run import read_results, run
from vlmad_core.testing import memory_registry, tiny_backbone


def command(*words: str) -> str:
    """What a command prints; it must end well."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            main(words)
        except SystemExit as ended:
            assert not ended.code, words
    return printed.getvalue()


def judge(folder: Path) -> None:
    """A memory on the tiny backbone: remember, save, load, judge a folder of pictures."""
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    known, other = [folder / "0.png", folder / "1.png"], folder / "2.png"
    tiny, registry = tiny_backbone(), memory_registry()
    spec = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match", "memory"]}
    vlmad_core.build(spec, backbone=tiny, registry=registry).fit(known, class_name="part").save(folder / "saved")
    detector = vlmad_core.load(folder / "saved", backbone=tiny, registry=registry)
    run(detector, [*known, other], folder / "out")
    scores = {Path(result.path).name: result.score for result in read_results(folder / "out")}
    assert max(scores, key=scores.get) == "2.png", scores


if __name__ == "__main__":
    listed = json.loads(command("list", "--json"))
    assert {row["plugin"] for row in listed} == {"vlmad-core"}
    for words in (["--version"], ["list"], ["plugins", "--strict"], ["show", "memory"], ["data", "list"]):
        assert command(*words)
    with tempfile.TemporaryDirectory() as place:
        judge(Path(place))
    sys.stdout.write("it runs\n")

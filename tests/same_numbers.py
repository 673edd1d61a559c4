"""Scores and maps of every recipe on real images, recorded before a change and compared after it, bit by bit.

``python tests/same_numbers.py record FILE --data DIR`` writes them with the code that is installed;
``python tests/same_numbers.py compare FILE --data DIR`` computes them again and exits with 1 where one bit differs.
Moving code must change no number; this is the proof. DIR holds data sets in the layout of MVTec AD.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vlmad_core
from vlmad_core.registry.registry import default_registry

IMAGES, NORMALS = 2, 2


def measure(data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A record for each recipe, category and image: the score as hexadecimal digits and the hash of the map."""
    for entry in sorted(default_registry().entries("recipe"), key=lambda entry: entry.name):
        torch.manual_seed(0)  # recipes that learn are compared with random parameters
        own = entry.item.spec["backbone"]
        backbone = {} if "pocket" in str(own) else {"backbone": "pocket"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            detector = vlmad_core.build(entry.name, **backbone)
        detector.trained = {"data": {"name": "random parameters"}}
        for category in sorted(path for path in data.glob("*/*") if (path / "test").is_dir())[:3]:
            name = category.name.replace("_", " ")
            normals = sorted((category / "train/good").iterdir())[:NORMALS]
            images = sorted((category / "test/defect").iterdir())[:IMAGES]
            if any(scorer.needs_fit for scorer in detector.scorers):
                detector.fit(normals, name)
            for image, found in zip(images, detector.predict(images, name), strict=True):
                key = f"{entry.name} {category.name} {image.name}"
                digest = hashlib.sha256(np.ascontiguousarray(found.raw_map).tobytes()).hexdigest()
                yield key, {"score": found.score.hex(), "map": digest, "value": found.score}


def main() -> int:
    """0: recorded, or everything is equal; 1: something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    records = dict(measure(given.data))
    if given.what == "record":
        given.file.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n")
        print(f"{len(records)} images of {len({key.split()[0] for key in records})} recipes recorded")
        return 0
    before = json.loads(given.file.read_text())
    keys = sorted(before.keys() | records.keys())
    wrong = [key for key in keys if before.get(key) != records.get(key)]
    for key in wrong:
        print(f"differs: {key}: {before.get(key)} before, {records.get(key)} now")
    print(f"{len(keys) - len(wrong)} equal to the last bit, {len(wrong)} different")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

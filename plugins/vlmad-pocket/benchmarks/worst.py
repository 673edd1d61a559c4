"""The worst cases of the recipe 'pocket', as pictures: `python worst.py --data FOLDER`.

For each set, the normal images with the highest and the defective ones with the lowest scores, with their heat maps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from sets import RealSet, real_sets

import vlmad_core
from vlmad_core import Pipeline
from vlmad_core.run import contact_sheet, run


def main() -> None:
    """Judge each set, then draw what went most wrong."""
    parser = argparse.ArgumentParser(description="The worst cases as pictures.")
    parser.add_argument("--data", type=Path, required=True, help="sets in the MVTec layout")
    parser.add_argument("--out", type=Path, default=Path("worst"), help="folder for the sheets")
    parser.add_argument("--count", type=int, default=6, help="images of each kind of mistake")
    parser.add_argument("--max-images", type=int, default=60, help="judged images of each label and set")
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    detector = vlmad_core.build("pocket", overrides={"backbone.config.image_size": arguments.size})
    for real in real_sets(arguments.data, arguments.max_images):
        detector.class_name = real.thing
        chosen = mistakes(detector, real, arguments.count)
        sheet = arguments.out / f"{real.name.replace('/', '-')}.png"
        with tempfile.TemporaryDirectory() as folder:
            run(detector, list(chosen), folder, overlays=True)
            contact_sheet(folder, sheet, count=arguments.count, columns=arguments.count, labels=chosen)
        sys.stdout.write(f"{sheet}\n")


def mistakes(detector: Pipeline, real: RealSet, count: int) -> dict[str, str]:
    """Path to what it is: the normal images scored highest, the defective ones scored lowest."""
    scored = [(p.score, path) for path, p in zip(real.test, detector.stream(list(real.test)), strict=True)]
    good = sorted((s, p) for s, p in scored if not real.test[p])[-count:]
    bad = sorted((s, p) for s, p in scored if real.test[p])[:count]
    return {str(p): "normal" for _, p in good} | {str(p): "defective" for _, p in bad}


if __name__ == "__main__":
    main()

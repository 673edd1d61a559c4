"""Missing, doubled and moved cookies on a tray: image AUROC of 'parts' beside memories of patches.

``python cookies.py FOLDER RECIPE [COUNT]``: FOLDER holds photographs of single good cookies; half of them are on the
normal trays, the other half on the tested ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scenes import KINDS, Scenes

import vlmad_core
from vlmad_core.metrics import auroc, auroc_interval

NORMALS, SEED = 16, 5000


def main(folder: str, recipe: str, count: str = "12") -> None:
    """Print one line a kind."""
    files, n = sorted(Path(folder).glob("*.jpg")), int(count)
    half = len(files) // 2
    normal, tested = Scenes(files[half:]), Scenes(files[:half])
    detector = vlmad_core.build(recipe).fit([normal.draw("good", SEED + i) for i in range(NORMALS)], class_name="tray")
    scores = {
        kind: [one.score for one in detector.predict([tested.draw(kind, SEED + 100 + i) for i in range(n)])]
        for kind in KINDS
    }
    for kind in KINDS[1:]:
        area = auroc(np.array(scores["good"] + scores[kind]), np.array([0] * n + [1] * n))
        low, high = auroc_interval(area, n, n)
        sys.stdout.write(f"{recipe} {kind}: {area:.3f} ({low:.2f} to {high:.2f}), {n} + {n} images\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

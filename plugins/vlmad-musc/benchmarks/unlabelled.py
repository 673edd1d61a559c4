"""Accuracy of mutual scoring on real pictures: fitted on the test images without their labels, then judging them.

    python plugins/vlmad-musc/benchmarks/unlabelled.py --data FOLDER

Sets, sizes and metrics are those of `make accuracy`, whose code this uses; scores are printed as they are, and after
the paper's transductive re-scoring by the class token. Time grows with the square of the number of images.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "vlmad-pocket" / "benchmarks"))
from accuracy import masks_of
from once import judge, look, remember, values
from sets import real_sets

import vlmad_core
from vlmad_core import Pipeline
from vlmad_core.contracts import forward_blocks
from vlmad_core.contracts.images import read, stack
from vlmad_musc.transductive import rescore


def main() -> None:
    """One row a set."""
    parser = argparse.ArgumentParser(description="Accuracy of mutual scoring on real pictures.")
    parser.add_argument("--data", type=Path, required=True, help="sets in the MVTec layout")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--max-images", type=int, default=100, help="judged images of each label and set")
    arguments = parser.parse_args()
    detector = vlmad_core.build("musc", image_size=arguments.size)
    for real in real_sets(arguments.data, arguments.max_images):
        paths, started = list(real.test), time.perf_counter()
        labels = np.array([real.test[path] for path in paths])
        features = list(look(detector, paths))
        remember(detector, features)
        scores, maps = judge(detector, features)
        seconds = (time.perf_counter() - started) / len(paths)
        found = values(scores, labels, maps, masks_of(real, paths))
        again = rescore(scores, np.concatenate(list(whole(detector, paths))))
        found |= {"rescored": values(again, labels, maps, None)["auroc"], "seconds": seconds}
        message = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        sys.stdout.write(f"{real.name}, {(labels == 0).sum()} + {labels.sum()}: {message}\n")
        sys.stdout.flush()


@torch.no_grad()
def whole(detector: Pipeline, paths: list[Path]) -> Iterator[np.ndarray]:
    """``[B, D]`` of each batch: what the backbone pools from a whole image."""
    backbone = detector.backbone
    for pictures in read(paths, backbone.preprocess, batch_size=8):
        tokens, _ = backbone.vision.embed(stack(pictures).to(backbone.dtype))
        yield backbone.vision.pool(forward_blocks(backbone.vision.blocks, tokens)[0]).float().numpy()


if __name__ == "__main__":
    main()

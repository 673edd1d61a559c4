"""One measurement of WinCLIP here: ``side_vlmad.py DTYPE FOLDER BATCH SHOTS OUTPUT``."""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
import torch

import vlmad_core


def main() -> None:
    """Time the part that a user waits for: pixels in, maps out; text and memory are made before."""
    dtype, folder, batch, shots, output = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    images = torch.from_numpy(np.load(f"{folder}/images.npy"))
    queries, references = images[:batch], images[8 : 8 + shots]
    recipe = "winclip-anomalib-few-shot" if shots else "winclip-anomalib"
    detector = vlmad_core.build(recipe, weights=f"{folder}/weights.pt", overrides={"backbone.config.dtype": dtype})
    detector.class_name = "bottle"
    with torch.no_grad():
        if shots:
            detector.scorers[1].fit(
                detector.extractor(detector.backbone.vision, references.to(detector.backbone.dtype))
            )
        detector(queries[:1])  # text is encoded once a class, on both sides before the clock starts
        started = time.perf_counter()
        scores = detector(queries)
        seconds = (time.perf_counter() - started) / batch
    np.savez(output, maps=scores.anomaly_map.float().numpy(), scores=scores.image.float().numpy())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()

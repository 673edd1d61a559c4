"""One measurement of anomalib's WinCLIP: ``side_anomalib.py FOLDER BATCH SHOTS OUTPUT``, in its own environment."""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
import torch

# A CPU torch beside a CUDA torchvision lacks these two operators, and everything here imports torchvision.
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from anomalib.models.image.winclip import torch_model  # noqa: E402


def main() -> None:
    """Time the part that a user waits for: pixels in, maps out; text and memory are made before."""
    folder, batch, shots, output = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    images = torch.from_numpy(np.load(f"{folder}/images.npy"))
    queries, references = images[:batch], images[8 : 8 + shots]
    torch_model.PRETRAINED = None  # no download; the weights below replace the random ones
    model = torch_model.WinClipModel().eval()
    model.clip.load_state_dict(torch.load(f"{folder}/weights.pt", weights_only=True))
    with torch.no_grad():
        model.setup("bottle", references if shots else None)
        model(queries[:1])
        started = time.perf_counter()
        result = model(queries)
        seconds = (time.perf_counter() - started) / batch
    np.savez(output, maps=result.anomaly_map.numpy(), scores=result.pred_score.numpy())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()

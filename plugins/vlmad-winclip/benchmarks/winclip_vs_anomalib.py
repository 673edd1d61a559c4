"""WinCLIP here against anomalib's, both sides in one run: same random weights, same pictures, taking turns.

    python plugins/vlmad-winclip/benchmarks/winclip_vs_anomalib.py [--rounds 3] [--report FILE.json]

anomalib needs an open_clip of its own, so it gets an environment of its own (made once, in ``.benchmark/``). Each
measurement is a process of its own, so that its peak memory is its own; sides alternate, and the best round counts.
Weights are random, since none can be downloaded everywhere: speed and agreement do not depend on them, detection does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import torch

from vlmad_core.contracts import import_with_torchvision

HERE = Path(__file__).parent
PACKAGES = ["anomalib==2.7.0", "open_clip_torch>=2.23,<2.26.1", "torch==2.13.0", "torchvision==0.28.0"]
CASES = [(1, 0), (8, 0), (1, 4), (8, 4)]  # batch, reference images
SIDE, WIDTH, LAYERS, HIDDEN = 240, 896, 12, 3584


def main() -> None:
    """Prepare, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(".benchmark"))
    parser.add_argument("--report", type=Path, help="write the figures here too, as JSON")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(exist_ok=True)
    peer = environment(folder / "anomalib")
    inputs(folder)
    sides = {
        "anomalib": [str(peer), str(HERE / "side_anomalib.py")],
        "vlmad fp32": [sys.executable, str(HERE / "side_vlmad.py"), "float32"],
        "vlmad bf16": [sys.executable, str(HERE / "side_vlmad.py"), "bfloat16"],
    }
    best: dict[tuple[str, int, int], dict[str, float]] = {}
    for turn in range(arguments.rounds):
        for batch, shots in CASES:
            for name, command in sides.items():
                result = measure(command, folder, batch, shots, name)
                key = (name, batch, shots)
                if key not in best or result["seconds"] < best[key]["seconds"]:
                    best[key] = result
                print(
                    f"round {turn + 1}: {name:11} batch {batch}, {shots}-shot: {result['seconds']:.2f} s/image",
                    flush=True,
                )
    rows = table(best, folder)
    peak = plain_product()
    print(
        "\nplain matrix product, 980x896x3584: "
        + ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in peak.items())
    )
    if arguments.report:
        arguments.report.write_text(json.dumps({"cases": rows, "plain_product_gflops": peak}, indent=2) + "\n")


def environment(folder: Path) -> Path:
    """A Python with anomalib in it."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print("making an environment for anomalib (about a minute and a half)", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return python


def inputs(folder: Path) -> None:
    """Random weights and pictures, the same for both sides."""
    torch.manual_seed(0)
    model = import_with_torchvision("open_clip").create_model("ViT-B-16-plus-240", pretrained=None)
    torch.save(model.state_dict(), folder / "weights.pt")
    np.save(folder / "images.npy", torch.randn(12, 3, SIDE, SIDE).numpy())


def measure(command: list[str], folder: Path, batch: int, shots: int, name: str) -> dict[str, float]:
    """One process: seconds an image and peak memory; maps and scores go to a file."""
    output = folder / f"{name.replace(' ', '-')}-{batch}-{shots}.npz"
    done = subprocess.run(
        [*command, str(folder), str(batch), str(shots), str(output)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())},
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(best: dict[tuple[str, int, int], dict[str, float]], folder: Path) -> list[dict[str, object]]:
    """Print and return images per second, ratios, memory, GFLOP/s and agreement."""
    heads = ("images/s", 9), ("ratio", 7), ("memory MiB", 12), ("GFLOP/s", 9), ("map diff", 10), ("score diff", 11)
    print(f"\n{'case':16}{'side':12}" + "".join(f"{head:>{width}}" for head, width in heads))
    rows: list[dict[str, object]] = []
    for (name, batch, shots), result in sorted(best.items(), key=lambda item: (item[0][2], item[0][1])):
        base = best["anomalib", batch, shots]
        ours = np.load(folder / f"{name.replace(' ', '-')}-{batch}-{shots}.npz")
        theirs = np.load(folder / f"anomalib-{batch}-{shots}.npz")
        row = {
            "case": f"batch {batch}, {shots}-shot",
            "side": name,
            "images_per_second": 1 / result["seconds"],
            "ratio": base["seconds"] / result["seconds"],
            "peak_mib": result["peak_mib"],
            "gflops": work() / result["seconds"] / 1e9,
            "map_difference": float(np.abs(ours["maps"] - theirs["maps"]).max()),
            "score_difference": float(np.abs(ours["scores"] - theirs["scores"]).max()),
        }
        rows.append(row)
        print(
            f"{row['case']:16}{name:12}{row['images_per_second']:9.3f}{row['ratio']:7.2f}{row['peak_mib']:12.0f}"
            f"{row['gflops']:9.0f}{row['map_difference']:10.1e}{row['score_difference']:11.1e}"
        )
    return rows


def work() -> float:
    """Multiply-adds, twice, of the plain method: every token of every window through every block."""
    tokens = 196 * 5 + 169 * 10 + 226
    attention = 4 * WIDTH * (196 * 5**2 + 169 * 10**2 + 226**2)
    return LAYERS * (2 * tokens * (4 * WIDTH**2 + 2 * WIDTH * HIDDEN) + attention)


def plain_product() -> dict[str, float]:
    """What one matrix product of the size of an MLP reaches here, best of twenty."""
    rates = {}
    for name, product in {
        "torch fp32 (MKL)": lambda x, w: torch.nn.functional.linear(x, w),
        "oneDNN fp32": lambda x, w: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "none"),
        "bf16": lambda x, w: torch.nn.functional.linear(x.bfloat16(), w),
    }.items():
        x, w = torch.randn(980, WIDTH), torch.randn(HIDDEN, WIDTH)
        w = w.bfloat16() if name == "bf16" else w
        times = []
        for _ in range(20):
            started = time.perf_counter()
            product(x, w)
            times.append(time.perf_counter() - started)
        rates[name] = 2 * 980 * WIDTH * HIDDEN / min(times) / 1e9
    return rates


if __name__ == "__main__":
    main()

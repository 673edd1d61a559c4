"""What training costs: an epoch as the papers' code spends it, our first epoch, and our later ones from the cache.

The loop to compare with does in every step what the authors' loops do: decode and resize each image and mask, run the
frozen tower over it without gradients, then words, maps at full size, losses, backward, Adam. It uses the same parts,
so the ratio shows what is kept, and not who wrote the faster tower. Both run in one process, one after the other.

    python plugins/vlmad-learned-prompts/benchmarks/training.py --images 48 --epochs 4
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vlmad_core
from vlmad_core import Dataset, Sample
from vlmad_core.contracts.images import open_image, to_pixels
from vlmad_core.training.losses import cross_entropy, dice, focal
from vlmad_core.training.options import training_options


def main() -> None:
    """Run both and print seconds and ratios."""
    parser = argparse.ArgumentParser(description="Epochs with and without what is kept.")
    parser.add_argument("--recipe", default="anomalyclip")
    parser.add_argument("--backbone", default="pocket")
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--pixels", type=int, default=700, help="Side of the pictures on the disk.")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cache", default="disk", choices=["memory", "disk"])
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        data = pictures(Path(folder), given.images, given.pixels)
        reference = [plain_epoch(given, data) for _ in range(2)]
        first, later = ours(given, data, Path(folder) / "out")
    plain = statistics.median(reference)
    print(f"{given.recipe} on {given.backbone}, {given.images} images, batch {given.batch_size}, cache {given.cache}")
    print(f"epoch of the plain loop      {plain:8.2f} s   ({', '.join(f'{s:.2f}' for s in reference)})")
    print(f"our first epoch              {first:8.2f} s   {plain / first:6.2f} x the plain loop's speed")
    print(f"our later epochs, median     {later:8.2f} s   {plain / later:6.2f} x the plain loop's speed")
    print(f"first against later          {first / later:8.2f} x")


def pictures(folder: Path, count: int, side: int) -> Dataset:
    """Noise with a bright square in every second one: what is on them does not change what they cost."""
    rng, samples = np.random.default_rng(0), []
    for i in range(count):
        pixels = rng.integers(60, 120, (side, side, 3), dtype=np.uint8)
        mask = np.zeros((side, side), np.uint8)
        mask[side // 4 : side // 2, side // 4 : side // 2] = 255
        pixels[mask > 0] += 100
        Image.fromarray(pixels).save(folder / f"{i}.png", compress_level=1)
        Image.fromarray(mask).save(folder / f"{i}_mask.png")
        masks = (folder / f"{i}_mask.png",) if i % 2 else ()
        samples.append(Sample(folder / f"{i}.png", bool(i % 2), "part", "test", "square" if i % 2 else "good", masks))
    return Dataset.of("squares", samples)


def plain_epoch(given: argparse.Namespace, data: Dataset) -> float:
    """Seconds of one epoch in which nothing is kept."""
    detector = vlmad_core.build(given.recipe, backbone=given.backbone)
    options = training_options(given.recipe)
    backbone, prompts = detector.backbone, detector.prompts
    assert prompts is not None and backbone.text is not None
    learning = list(detector.parameters())
    optimizer = torch.optim.Adam(learning, lr=options.rate, betas=options.betas)
    fixed = None  # sentences that learn nothing are computed once before training, as APRIL-GAN's code does
    if not list(prompts.parameters()):
        with torch.no_grad():
            fixed = prompts(backbone.text, ["part"])
    detector.train()
    order = np.random.default_rng(0).permutation(len(data))
    started = time.perf_counter()
    for start in range(0, len(order), given.batch_size):
        chosen = [data.samples[i] for i in order[start : start + given.batch_size]]
        pixels = torch.stack([to_pixels(open_image(sample.image), backbone.preprocess) for sample in chosen])
        masks = torch.stack([_mask(sample, backbone.preprocess.size) for sample in chosen])
        labels = torch.tensor([float(bool(sample.label)) for sample in chosen])
        with torch.no_grad():
            seen = detector.extractor.extract_frozen(backbone.vision, pixels)
        features = detector.extractor.apply_learned(seen)
        names = ["part"] * len(chosen)
        text_embeddings = prompts(backbone.text, names) if fixed is None else _repeated(fixed, len(chosen))
        loss = torch.zeros(())
        for scorer in detector.scorers:
            scores = scorer(features, text_embeddings, backbone.preprocess.size)
            for level in scores.levels.values():
                loss = loss + options.focal * focal(level, masks) + options.dice * dice(level, masks)
                loss = loss + options.dice_normal * dice(1 - level, 1 - masks)
            loss = loss + options.cross_entropy * cross_entropy(scores.image, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - started


def ours(given: argparse.Namespace, data: Dataset, out: Path) -> tuple[float, float]:
    """Seconds of the first epoch and the median of the later ones, as `epochs.csv` has them."""
    detector = vlmad_core.build(given.recipe, backbone=given.backbone)
    chosen = {"epochs": given.epochs, "batch_size": given.batch_size, "cache": given.cache, "mosaic": 0.0}
    vlmad_core.train(detector, data, out, recipe=given.recipe, options=chosen)
    with (out / "epochs.csv").open(newline="") as file:
        first, *later = [float(row["seconds"]) for row in csv.DictReader(file)]
    return first, statistics.median(later)


def _mask(sample: Sample, size: tuple[int, int]) -> torch.Tensor:
    if not sample.masks:
        return torch.zeros(size)
    with Image.open(sample.masks[0]) as image:  # type: ignore[arg-type]
        small = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy((np.asarray(small) > 127).astype(np.float32))


def _repeated(text_embeddings: vlmad_core.contracts.TextEmbeddings, count: int) -> vlmad_core.contracts.TextEmbeddings:
    return vlmad_core.contracts.TextEmbeddings(text_embeddings.vectors.expand(count, -1, -1), text_embeddings.abnormal)


if __name__ == "__main__":
    main()

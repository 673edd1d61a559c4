"""Paper, board and other sheets of pulp: fibres are their texture; generator and size to [S, S, 3] in 0..1."""

import numpy as np
from PIL import Image, ImageDraw

from pictures.noise import Array, Rng, between, colour, field, paint, pick, step


def fibres_over(rng: Rng, size: int, count: int, length: float, *, lean: float | None = None) -> Array:
    """Short curved fibres all over the frame, light ones above 0 and dark ones below, [S, S]."""
    finer = 2
    image = Image.new("L", (size * finer, size * finer), 128)
    draw = ImageDraw.Draw(image)
    starts = rng.random((count, 2)) * 1.1 - 0.05
    turns = rng.uniform(0, 6.3, count) if lean is None else rng.normal(lean, 0.35, count)
    bends, spans, tones = rng.normal(0, 0.5, count), length * rng.uniform(0.3, 1.5, count), rng.normal(128, 45, count)
    for (x, y), turn, bend, span, shade in zip(starts, turns, bends, spans, tones, strict=True):
        points = [(x * size * finer, y * size * finer)]
        for k in range(3):
            angle = turn + bend * k
            x, y = x + np.cos(angle) * span / 3, y + np.sin(angle) * span / 3
            points.append((x * size * finer, y * size * finer))
        draw.line(points, fill=int(np.clip(shade, 0, 255)), width=1)
    return (np.asarray(image.reduce(finer), np.float32) - 128) * np.float32(1 / 64)


def paper(rng: Rng, size: int) -> Array:
    """From smooth card to rough recycled sheets."""
    cloudy = rng.uniform(0.0, 0.05) * field(rng, size, zoom=between(rng, 1.5, 5), slope=1.5)  # formation
    tone = 1 + rng.uniform(0.005, 0.04) * field(rng, size, zoom=between(rng, 0.6, 2), slope=1.0) + cloudy
    if rng.random() < 0.7:
        count, lean = int(between(rng, 100, 900)), rng.uniform(0, 3.1) if rng.random() < 0.4 else None
        fibres = fibres_over(rng, size, count, between(rng, 0.03, 0.15), lean=lean)
        tone = tone + between(rng, 0.02, 0.25) * fibres
    if rng.random() < 0.2:  # recycled: specks everywhere belong to it
        tone = tone - rng.uniform(0.1, 0.5) * step(field(rng, size, zoom=0.8, slope=0.6), 2.0, 2.8)
    hue = pick(rng, 0.05, 0.08, 0.11, 0.6)
    return paint(tone.astype(np.float32), colour(rng, (hue, hue + 0.03), (0, pick(rng, 0.08, 0.5)), (0.5, 0.97)))

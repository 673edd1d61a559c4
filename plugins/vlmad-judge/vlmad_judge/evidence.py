"""What the detector knows of an image, as words and as a drawing: facts for the question, and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from vlmad_core.run.opinion import Case

__all__ = ["PLACES", "Evidence", "cropped", "drawn", "evidence_of", "place_of", "sentence_of"]

PLACES = (
    "top left",
    "top",
    "top right",
    "left",
    "centre",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)
"""Thirds of the image, row by row."""


@dataclass(frozen=True)
class Evidence:
    """Facts of one image.

    Args:
        boxes: Left, top, right, bottom of the regions, in shares of the image, the highest score first; without
            calibrated regions the surroundings of the highest value of the map.
        area: Share of the image in regions; None without calibrated regions.
        score: Of the image.
        threshold: None where the detector is not calibrated.
        verdict: Of the detector.
    """

    boxes: tuple[tuple[float, float, float, float], ...]
    area: float | None
    score: float
    threshold: float | None
    verdict: str

    @property
    def places(self) -> tuple[str, ...]:
        """Every third of the image that a region touches, the centre of the highest region first."""
        first = place_of(*_centre(self.boxes[0]))
        touched = [
            PLACES[3 * row + column]
            for box in self.boxes
            for row in range(3)
            for column in range(3)
            if box[1] < (row + 1) / 3 and box[3] > row / 3 and box[0] < (column + 1) / 3 and box[2] > column / 3
        ]
        return tuple(dict.fromkeys([first, *touched]))


def evidence_of(case: Case) -> Evidence:
    """The facts of a case."""
    result, prediction = case.result, case.prediction
    height, width = prediction.size
    boxes: list[tuple[float, float, float, float]] = []
    area = None
    if result.regions:
        area = float(sum(region["area_share"] for region in result.regions))
        for region in result.regions:
            left, top, right, bottom = region["box"]
            boxes.append((left / width, top / height, right / width, bottom / height))
    else:
        row, column = prediction.peak
        y, x = (row + 0.5) / height, (column + 0.5) / width
        boxes.append((max(0.0, x - 0.08), max(0.0, y - 0.08), min(1.0, x + 0.08), min(1.0, y + 0.08)))
    return Evidence(tuple(boxes), area, prediction.score, result.threshold, result.verdict or "uncalibrated")


def place_of(x: float, y: float) -> str:
    """The third of the image that a point lies in.

    >>> place_of(0.9, 0.1), place_of(0.5, 0.5)
    ('top right', 'centre')
    """
    row, column = (min(2, max(0, int(3 * value))) for value in (y, x))
    return PLACES[3 * row + column]


def sentence_of(evidence: Evidence) -> str:
    """A sentence made of the detector's numbers alone."""
    where = evidence.places[0]
    text = f"The anomaly map is highest at the {where} of the image"
    if evidence.area is not None:
        count = len(evidence.boxes)
        text += f"; {count} region{'s' if count > 1 else ''} above the threshold cover{'s' if count == 1 else ''} "
        text += f"{100 * evidence.area:.2g} % of it"
    text += f". Score {evidence.score:.4g}"
    if evidence.threshold is not None:
        text += f" against the threshold {evidence.threshold:.4g}"
    return f"{text}."


def drawn(image: Image.Image, evidence: Evidence) -> Image.Image:
    """The image with the boxes of its three highest regions in red."""
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    line = max(2, round(max(image.size) / 250))
    for left, top, right, bottom in evidence.boxes[:3]:
        box = [left * image.width, top * image.height, right * image.width, bottom * image.height]
        pen.rectangle([box[0] - line, box[1] - line, box[2] + line, box[3] + line], outline=(255, 0, 0), width=line)
    return picture


def cropped(image: Image.Image, evidence: Evidence) -> Image.Image:
    """The surroundings of the highest region, at least a quarter of the image each way."""
    x, y = _centre(evidence.boxes[0])
    left, top, right, bottom = evidence.boxes[0]
    half_width, half_height = max(0.125, 0.75 * (right - left)), max(0.125, 0.75 * (bottom - top))
    box = (
        round(max(0.0, x - half_width) * image.width),
        round(max(0.0, y - half_height) * image.height),
        max(1, round(min(1.0, x + half_width) * image.width)),
        max(1, round(min(1.0, y + half_height) * image.height)),
    )
    return image.crop(box)


def _centre(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2

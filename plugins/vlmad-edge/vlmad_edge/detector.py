"""An exported detector: images in, predictions with verdicts out. Decoding and resizing are those of the core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmad_edge.prediction import Prediction
from vlmad_edge.record import Record, read_record
from vlmad_edge.session import open_session
from vlmad_edge.shared.decode import Decoded, decode
from vlmad_edge.shared.errors import ConfigError, ImageError
from vlmad_edge.shared.find import find_images
from vlmad_edge.shared.regions import find_regions, region_record
from vlmad_edge.shared.verdict import Verdict, uncalibrated

if TYPE_CHECKING:
    from PIL import Image

    from vlmad_edge.shared.decode import ImageLike
    from vlmad_edge.shared.overlay import Scale

__all__ = ["EdgeDetector", "load", "to_pixels"]


def load(path: str | Path, *, threads: int | None = None, device: str = "cpu") -> EdgeDetector:
    """Open a detector that `vlmad export` wrote.

    Args:
        path: ``nut.onnx``, or ``nut.xml`` of OpenVINO; ``nut.json`` lies beside it.
        threads: Of the runtime; None: as many as it wants.
        device: ``"cpu"``, or another one that the installed runtime has.

    Raises:
        ConfigError: A file is missing, changed or of another model, or the runtime is not installed.
    """
    return EdgeDetector(read_record(path), threads=threads, device=device)


class EdgeDetector:
    """What :func:`load` gives.

    Args:
        record: Of the model.
        threads: Of the runtime.
        device: Where it runs.
    """

    def __init__(self, record: Record, *, threads: int | None = None, device: str = "cpu") -> None:
        self.record = record
        self.run = open_session(record, threads=threads, device=device)

    def predict(self, image: ImageLike) -> Prediction:
        """Score one image, decide on it, and mark where its defects are.

        Args:
            image: A path, a PIL image or an array.

        Raises:
            ImageError: It cannot be read.
            ConfigError: The network gave a number that is not finite.
        """
        (found,) = self.predict_batch([image])
        return found

    def stream(self, images: str | Path | Iterable[ImageLike], *, batch_size: int = 1) -> Iterator[Prediction]:
        """Predictions one by one, for a folder or any number of images, in flat memory."""
        sources = iter(find_images(images) if isinstance(images, str | Path) else images)
        while batch := [image for image, _ in zip(sources, range(batch_size), strict=False)]:
            yield from self.predict_batch(batch)

    def predict_batch(self, images: Iterable[ImageLike]) -> list[Prediction]:
        """As :meth:`predict`, for several images at once."""
        sources = list(images)
        for source in sources:
            if isinstance(source, str | Path) and Path(source).is_dir():
                raise ImageError(f"{source}: is a folder; list(detector.stream('{source}')) judges each image in it.")
        decoded = [decode(source, smallest=self.record.size, bits=self.record.bits) for source in sources]
        outputs = self.run(np.stack([to_pixels(one.image, self.record) for one in decoded]))
        tokens = [None] * len(sources) if outputs.class_token is None else list(outputs.class_token)
        return [
            self._prediction(source, one, float(score), values, token)
            for source, one, score, values, token in zip(
                sources, decoded, outputs.score, outputs.anomaly_map, tokens, strict=True
            )
        ]

    @property
    def scale(self) -> Scale | None:
        """The colours of overlays; None: each map has its own."""
        from vlmad_edge.shared.overlay import Scale

        return None if self.record.colours is None else Scale(**self.record.colours)

    def verdict(self, score: float, class_token: NDArray[np.float32] | None = None) -> Verdict:
        """The decision that follows from a score and a class token.

        Args:
            score: Of an image.
            class_token: ``[D]`` of unit length.
        """
        record = self.record
        if record.rule is None:
            return uncalibrated(score, record.reason)
        distance = None
        if record.tokens is not None and len(record.tokens) and class_token is not None:
            cosines = record.tokens.astype(np.float64) @ class_token.astype(np.float64)
            distance = float(np.clip(1 - cosines, 0, 2).min())
        return record.rule.verdict(score, distance)

    def _prediction(
        self, source: ImageLike, decoded: Decoded, score: float, values: NDArray[np.float32], token: np.ndarray | None
    ) -> Prediction:
        path = str(source) if isinstance(source, str | Path) else None
        if not (np.isfinite(score) and np.isfinite(values).all()):
            raise ConfigError(
                f"{path or 'an image'}: the network gave a score or a map that is not a finite number; export it again "
                "with a higher precision."
            )
        regions = None
        if self.record.rule is not None and self.record.pixel_threshold is not None:
            found = find_regions(values, self.record.pixel_threshold)
            regions = [region_record(region, values.shape, decoded.size) for region in found.regions]
        return Prediction(
            score,
            values,
            decoded.size,
            self.verdict(score, token),
            path,
            normal_range=self.record.normal_range,
            class_token=token,
            regions=regions,
            notes=tuple(filter(None, (*decoded.notes, decoded.read_as))),
            scale=self.scale,
        )


def to_pixels(image: Image.Image, record: Record) -> NDArray[np.float32]:
    """An RGB image to ``[3, H, W]`` float32: resize in 8 bits, divide by 255, subtract the mean, divide by std."""
    from PIL.Image import Resampling

    height, width = record.size
    if image.size != (width, height):
        image = image.resize((width, height), Resampling[record.interpolation.upper()])
    pixels = np.array(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (record.mean, record.std))
    normalised: NDArray[np.float32] = (pixels - mean) / std
    return normalised

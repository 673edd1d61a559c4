"""Features of the images of one category, computed once for all methods.

Every distinct extractor encodes every image once, all of them in one pass of the backbone; the features are kept in
memory, or on the disk where that is too small, until the category is done.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vlmad_core.benchmark.feature_store import FeatureStore
from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.contracts.data import Features, TextEmbeddings
from vlmad_core.contracts.device import to_device
from vlmad_core.contracts.images import ImageLike, Picture, read, view_batches
from vlmad_core.contracts.parts import Extractor
from vlmad_core.contracts.towers import Backbone
from vlmad_core.contracts.views import View, Views
from vlmad_core.errors import ImageError, VlmadError
from vlmad_core.pipeline.image_features import ImageFeatures
from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["Part", "SharedFeatures", "SharedTextEmbeddings", "extractor_key", "failure_message"]


def extractor_key(pipeline: Pipeline, detector: Path | None) -> str:
    """Pipelines with the same key have the same features: extractor and options, and the detector if it is trained."""
    assert pipeline.spec is not None
    trained = str(detector) if pipeline.extractor.state_dict() else ""
    return json.dumps([pipeline.spec.extractor.model_dump(mode="json"), trained], sort_keys=True)


@dataclass(frozen=True)
class Part:
    """Views of one scale and size that went through the tower together.

    Args:
        rows: Place of each view's image in its batch.
        views: One or several of one scale.
    """

    rows: tuple[int, ...]
    views: tuple[View, ...]


class SharedFeatures:
    """Features of some images by several extractors.

    Args:
        tower: The vision tower of the backbone; it counts its passes.
        backbone: That of the tower.
        test: Images to score, numbered from 0.
        normals: Images to fit on, whose numbers go on.
        extractors: By a key of the caller's.
        folder: For what does not fit into memory; removed by :meth:`close`.
        batch_size: Images through the tower at a time.
        memory: Bytes.
        workers: Threads that decode images.
        bits: Of the values in 16-bit grey files, or a window and channels; None: what the backbone or the file says,
            or 16.
        views: Which inputs are made of an image; None: one, of the backbone's own size.

    Attributes:
        unreadable: Number of an image to why it could not be read.
        sizes: Number of an image to its ``(height, width)`` as it was given.
        views: Number of an image to its views.
        failed: Key of an extractor to why it failed; the others go on.
    """

    def __init__(
        self,
        tower: RememberingTower,
        backbone: Backbone,
        test: Sequence[ImageLike],
        normals: Sequence[ImageLike],
        extractors: Mapping[str, Extractor],
        folder: Path,
        *,
        batch_size: int = 8,
        memory: float = 2e9,
        workers: int = 2,
        bits: int | str | None = None,
        views: Views | None = None,
    ) -> None:
        self._tower, self._backbone, self._extractors = tower, backbone, dict(extractors)
        self._preprocess = replace(backbone.preprocess, bits=bits or backbone.preprocess.bits, views=views)
        self._images, self._tests = [*test, *normals], len(test)
        self._batch_size, self._workers = batch_size, workers
        self._batches: list[list[int]] = []
        self._parts: list[list[Part]] = []
        self._test_batches = 0
        self._row: dict[int, tuple[int, int]] = {}
        self._store = FeatureStore(folder, memory)
        self.unreadable: dict[int, str] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        self.views: dict[int, tuple[View, ...]] = {}
        self.failed: dict[str, str] = {}

    def extract(self) -> None:
        """Encode every image with every extractor."""
        for _ in self.extract_steps():
            pass

    def extract_steps(self) -> Iterator[int]:
        """As :meth:`extract`; gives the number of images done, batch after batch."""
        self._batches, self._parts, self._row, done = [], [], {}, 0
        for is_test, images in ((True, self._images[: self._tests]), (False, self._images[self._tests :])):
            with closing(self._read(images, self._batch_size)) as batches:
                for pictures in batches:  # no batch has both
                    self._extract(list(range(done, done + len(pictures))), pictures)
                    done += len(pictures)
                    yield done
            if is_test:
                self._test_batches = len(self._batches)

    def test_batches(self, key: str) -> Iterator[tuple[Sequence[int], Iterator[tuple[Part, Features]]]]:
        """Numbers of the test images and their features by one extractor, part by part, a batch at a time.

        Raises:
            VlmadError: The extractor failed.
        """
        for number in range(self._test_batches):
            if self._batches[number]:
                yield self._batches[number], self._features(key, number)

    def normal_batches(self, key: str, indices: Sequence[int]) -> Iterator[list[ImageFeatures]]:
        """Features of some normal images, in this order, a batch at a time.

        Raises:
            ImageError: One of them cannot be read.
            VlmadError: The extractor failed.
        """
        for index in indices:
            if index in self.unreadable:
                raise ImageError(f"a normal image cannot be read: {self.unreadable[index]}")
        for start in range(0, len(indices), self._batch_size):
            chosen = indices[start : start + self._batch_size]
            numbers = dict.fromkeys(self._row[index][0] for index in chosen)
            batches = {number: list(self._features(key, number)) for number in numbers}
            yield [self._image(index, batches[self._row[index][0]]) for index in chosen]

    def close(self) -> None:
        """Give memory and disk back."""
        self._store.clear()

    def _image(self, index: int, batch: Sequence[tuple[Part, Features]]) -> ImageFeatures:
        own = self._row[index][1]
        found = {
            view: features.select(slice(i, i + 1))
            for part, features in batch
            for i, (row, view) in enumerate(zip(part.rows, part.views, strict=True))
            if row == own
        }
        views = self.views[index]
        return ImageFeatures(self.sizes[index], views, tuple(found[view] for view in views))

    def _read(self, images: Sequence[ImageLike], batch_size: int, *, warn: bool = True) -> Generator[list[Picture]]:
        return read(images, self._preprocess, batch_size=batch_size, workers=self._workers, warn=warn)

    def _extract(self, indices: Sequence[int], pictures: Sequence[Picture]) -> None:
        for index, picture in zip(indices, pictures, strict=True):
            if picture.error:
                self.unreadable[index] = picture.error
            elif picture.size is not None:
                self.sizes[index], self.views[index] = picture.size, picture.views
        number, parts = len(self._batches), list[Part]()
        self._batches.append([index for index in indices if index not in self.unreadable])
        self._row |= {index: (number, row) for row, index in enumerate(self._batches[number])}
        for part, found in self._encode(pictures, self._extractors):
            for key, features in found.items():
                self._store.keep(f"{number} {len(parts)} {key}", features)
            parts.append(part)
        self._parts.append(parts)

    def _encode(self, pictures: Sequence[Picture], keys: Iterable[str]) -> Iterator[tuple[Part, dict[str, Features]]]:
        """Features of the images that can be read, by several extractors in one pass of the tower."""
        keys = list(keys)
        for rows, views, images in view_batches([picture for picture in pictures if not picture.error]):
            pixels = to_device(images, self._backbone.device, self._backbone.dtype)
            found: dict[str, Features] = {}
            with torch.no_grad():  # not inference_mode: what a memory bank keeps may later stand in a graph
                for key in keys:
                    if key not in self.failed:
                        try:
                            found[key] = self._extractors[key](self._tower, pixels)
                        except Exception as error:  # somebody's plugin, or no memory; the other extractors go on
                            self.failed[key] = failure_message(error)
            self._tower.forget()
            yield Part(tuple(rows), tuple(views)), found

    def _features(self, key: str, number: int) -> Iterator[tuple[Part, Features]]:
        """From the store; what found no room there is computed again."""
        if key in self.failed:
            raise VlmadError(self.failed[key])
        names = {f"{number} {i} {key}": part for i, part in enumerate(self._parts[number])}
        if all(map(self._store.holds, names)):
            for name, part in names.items():
                stored = self._store.find(name, self._backbone.device)
                assert stored is not None
                yield part, stored
            return
        images = [self._images[index] for index in self._batches[number]]
        with closing(self._read(images, len(images), warn=False)) as batches:
            for part, found in self._encode(next(batches), [key]):
                if key not in found:
                    raise VlmadError(self.failed.get(key, "an image could be read once and not again."))
                yield part, found[key]


class SharedTextEmbeddings:
    """Text embeddings of one backbone, computed once for the same prompts and class name, whatever else differs."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], TextEmbeddings] = {}

    def get(self, pipeline: Pipeline, class_name: str, features: Features, count: int) -> TextEmbeddings | None:
        """For a batch of ``count`` images of one class."""
        prompts = pipeline.prompts
        if prompts is None or prompts.per_image or prompts.state_dict() or pipeline.spec is None:
            return pipeline.text_embeddings([class_name] * count, features)
        key = str(pipeline.spec.prompts), class_name
        if key not in self._made:
            one = pipeline.text_embeddings([class_name])
            if one is None:
                return None
            self._made[key] = one
        one = self._made[key]
        return TextEmbeddings(one.vectors.expand(count, -1, -1), one.abnormal)


def failure_message(error: BaseException) -> str:
    """One sentence for a row."""
    if isinstance(error, VlmadError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "out of memory" in str(error).lower():
        return "out of memory; take a smaller batch_size, a smaller image_size, or another device."
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else f"{type(error).__name__}."

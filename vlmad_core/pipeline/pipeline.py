"""A detector: four parts that call each other, with the few verbs that people need: fit, predict, save, explain."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlmad_core.contracts.data import Features, Prediction, Scores, TextEmbeddings
from vlmad_core.contracts.images import WORKERS, ImageLike, Picture, Preprocess, find_images, read, stack
from vlmad_core.contracts.parts import Extractor, Prompts, Scorer
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError, NotFittedError
from vlmad_core.pipeline.describe import describe
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.normal_range import HELD_OUT, normal_range, pick
from vlmad_core.pipeline.trained import was_trained_on

if TYPE_CHECKING:
    from vlmad_core.pipeline.spec import PipelineSpec

__all__ = ["Pipeline"]


class Pipeline(nn.Module):
    """Backbone, extractor, prompts and scorers, assembled.

    The backbone is shared, not owned: it is in neither ``parameters()`` nor ``state_dict()``, which hold exactly what
    the parts learn and remember. :func:`vlmad_core.build` makes pipelines from names.

    Args:
        backbone: What sees, and perhaps reads.
        extractor: How to look.
        scorers: How to judge.
        prompts: How to say normal and abnormal; None for memories alone.
        fuse: How the scorers become one.
        spec: The file it was built from; without it a pipeline cannot be saved.

    Raises:
        IncompatibleError: A scorer needs words and there are none.
    """

    def __init__(
        self,
        backbone: Backbone,
        extractor: Extractor,
        scorers: Sequence[Scorer],
        prompts: Prompts | None = None,
        fuse: Fuse | None = None,
        *,
        spec: PipelineSpec | None = None,
    ) -> None:
        super().__init__()
        self._shared = (backbone,)  # a tuple hides it from nn.Module, so that it is not owned
        self.extractor = extractor
        self.prompts = prompts
        self.scorers = nn.ModuleList(scorers)
        self.fuse = fuse or Fuse()
        self.spec = spec
        self.class_name: str | None = None
        self.plugins: Mapping[str, str] = {}
        self.trained: Mapping[str, Any] = {}  # what its parts learned from, see vlmad_core.pipeline.trained
        self.bits: int | None = None  # of the values in 16-bit grey files; None: what the file says, or 16
        self.normals: Mapping[str, Any] = {}  # how many images fit() was given, and one hash of their contents
        self.register_buffer("normal_range", torch.full((2,), math.nan))
        self.normal_range: Tensor
        self._cache: dict[str, tuple[Any, Tensor, Tensor]] = {}
        wordy = [label for scorer, label in zip(scorers, self.labels, strict=False) if scorer.needs_text]
        if not scorers:
            raise IncompatibleError("a pipeline needs at least one scorer.")
        if wordy and (prompts is None or backbone.text is None):
            lack = "no prompts were given" if backbone.text is not None else "the backbone has no text tower"
            raise IncompatibleError(f"scorer '{wordy[0]}' compares with words, but {lack}. Use scorer 'memory' alone.")
        self.eval()

    @property
    def backbone(self) -> Backbone:
        """The shared model."""
        return self._shared[0]

    @property
    def preprocess(self) -> Preprocess:
        """How images are read: as the backbone wants them, with the :attr:`bits` of the camera."""
        return replace(self.backbone.preprocess, bits=self.bits or self.backbone.preprocess.bits)

    # -- one batch, differentiable from end to end

    def forward(self, images: Tensor, class_names: Sequence[str] | None = None) -> Scores:
        """Judge a batch.

        Args:
            images: ``[B, 3, H, W]``, preprocessed.
            class_names: What each image shows; defaults to the one given to :meth:`fit`.
        """
        backbone = self.backbone
        features = self.extractor(backbone.vision, images.to(backbone.device, backbone.dtype))
        text_embeddings = self.text_embeddings(self._class_names(class_names, len(images)), features)
        return self.judge(features, text_embeddings, (images.shape[-2], images.shape[-1]))

    def judge(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """From features to fused scores with maps of ``size`` pixels."""
        scores = [scorer(features, text_embeddings, size) for scorer in self._scorers]
        return self.fuse(scores, self.labels)

    def text_embeddings(self, names: Sequence[str], features: Features | None = None) -> TextEmbeddings | None:
        """TextEmbeddings for each name; computed once a name while nothing is being learned."""
        prompts, text = self.prompts, self.backbone.text
        if prompts is None or text is None:
            return None
        if prompts.per_image or self.training or torch.is_grad_enabled():
            made: TextEmbeddings = prompts(text, names, features)
            return made
        # A change in place makes the cache stale, and so does another pipeline that moves the shared backbone.
        own = [(id(t), t._version) for t in (*prompts.parameters(), *prompts.buffers())]
        key = (self.backbone.device, self.backbone.dtype, own)
        for name in dict.fromkeys(names):
            if name not in self._cache or self._cache[name][0] != key:
                one: TextEmbeddings = prompts(text, [name])
                self._cache[name] = (key, one.vectors[0], one.abnormal)
        rows = [self._cache[name] for name in names]
        return TextEmbeddings(torch.stack([row[1] for row in rows]), rows[0][2])

    # -- for people

    def fit(
        self,
        images: str | Path | Iterable[ImageLike],
        class_name: str | None = None,
        *,
        batch_size: int = 8,
        keep: bool = False,
        progress: Callable[[int], None] | None = None,
        workers: int = WORKERS,
    ) -> Self:
        """Show it normal images.

        Args:
            images: A folder, or paths, PIL images and arrays.
            class_name: What they show, such as ``"metal nut"``; the default of later predictions.
            batch_size: Images through the backbone at a time.
            keep: Add to what is remembered instead of starting afresh; ``normal_range`` is then that of the new images.
            progress: Called with the number of images done.
            workers: Threads that decode.

        Raises:
            ImageError: An image cannot be read, or there are none; what was remembered before is kept.
            IncompatibleError: No scorer remembers anything.
        """
        if not any(scorer.needs_fit for scorer in self._scorers):
            raise IncompatibleError(
                "nothing here remembers normal images, so there is nothing to fit. Add scorer 'memory', or use a "
                "few-shot recipe."
            )
        sources: Iterable[ImageLike] = find_images(images) if isinstance(images, str | Path) else _listed(images)
        if class_name is not None:
            self.class_name = class_name
        if self.prompts is not None:
            self._class_names(None, 1)  # a missing name is refused before an image is read
        remembering = [scorer for scorer in self._scorers if scorer.needs_fit]
        before = [{name: t.clone() for name, t in scorer.state_dict().items()} for scorer in remembering]
        try:
            if not keep:
                for scorer in remembering:
                    scorer.forget()
            added = self._remember(sources, remembering, batch_size, progress, workers)
            self.normals = _joined(self.normals if keep else {}, added)
        except BaseException:  # half a memory would look like a whole one
            for scorer, state in zip(remembering, before, strict=True):
                scorer.load_state_dict(state)
            raise
        return self

    def _remember(
        self,
        sources: Iterable[ImageLike],
        remembering: Sequence[Scorer],
        batch_size: int,
        progress: Callable[[int], None] | None,
        workers: int,
    ) -> Mapping[str, Any]:
        done, contents = 0, hashlib.sha256()
        held: list[Features] = []
        # Not inference_mode: a memory filled under it could never stand in a graph that is trained.
        batches = read(sources, self.preprocess, batch_size=batch_size, workers=workers, digest=True)
        with torch.no_grad(), closing(batches):
            for pictures in batches:
                for picture in pictures:
                    if picture.error:
                        raise ImageError(f"a normal image cannot be read: {picture.error}")
                    contents.update(picture.content)
                pixels = stack(pictures).to(self.backbone.device, self.backbone.dtype)
                features = self.extractor(self.backbone.vision, pixels)
                if not all(level.vectors.isfinite().all() for level in features.levels):
                    raise ConfigError(
                        "the backbone gave features that are not finite numbers; its weights are broken, or its "
                        "precision is too low."
                    )
                for scorer in remembering:
                    scorer.fit(features)
                held += [pick(features, i) for i in range(min(len(pictures), HELD_OUT - len(held)))]
                done += len(pictures)
                if progress is not None:
                    progress(done)
            if not done:
                raise ImageError("no normal images were given.")
            names = self._class_names(None, 1)
            given = [self.text_embeddings(names, features) for features in held]
            self.normal_range.copy_(normal_range(self._scorers, self.fuse, held, given, self.backbone.preprocess.size))
        return {"count": done, "sha256": contents.hexdigest()}

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is one path here, not an iterable of letters
        self, images: ImageLike, class_name: str | None = None, *, batch_size: int = 8, workers: int = WORKERS
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: Iterable[ImageLike],
        class_name: str | Sequence[str] | None = None,
        *,
        batch_size: int = 8,
        workers: int = WORKERS,
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        class_name: str | Sequence[str] | None = None,
        *,
        batch_size: int = 8,
        workers: int = WORKERS,
    ) -> Prediction | list[Prediction]:
        """Judge images for people.

        Args:
            images: One path, PIL image or array; or several of them, in a list or a generator.
            class_name: What they show, one for all or one for each; defaults to the one given to :meth:`fit`.
            batch_size: Images through the backbone at a time.
            workers: Threads that decode.

        Returns:
            One prediction for one image, a list for several. :meth:`stream` gives them one by one.

        Raises:
            ImageError: An image cannot be read.
            NotFittedError: A memory has seen no normal image.
            ConfigError: The prompts need a name.
        """
        if isinstance(images, str | Path | Image.Image | np.ndarray):
            if isinstance(images, str | Path) and Path(images).is_dir():
                raise ImageError(f"{images}: is a folder; list(detector.stream('{images}')) judges each image in it.")
            (one,) = self.stream([images], class_name)
            return one
        return list(self.stream(images, class_name, batch_size=batch_size, workers=workers))

    def stream(
        self,
        images: str | Path | Iterable[ImageLike],
        class_name: str | Sequence[str] | None = None,
        *,
        batch_size: int = 8,
        workers: int = WORKERS,
    ) -> Iterator[Prediction]:
        """As :meth:`predict`, for a folder or any number of images, one prediction at a time in flat memory."""
        # Checked when called, not when the first prediction is asked for.
        self.check_ready(has_class_name=class_name is not None)
        sources: Iterable[ImageLike] = find_images(images) if isinstance(images, str | Path) else _listed(images)
        names = repeat(class_name) if class_name is None or isinstance(class_name, str) else iter(class_name)
        return self._stream(read(sources, self.preprocess, batch_size=batch_size, workers=workers), names)

    def _stream(self, batches: Generator[list[Picture]], names: Iterator[str | None]) -> Iterator[Prediction]:
        with closing(batches):  # its threads end here, also where an error keeps this frame alive
            for pictures in batches:
                for picture in pictures:
                    if picture.error:
                        raise ImageError(picture.error)
                given = [name for name in islice(names, len(pictures)) if name is not None]
                if given and len(given) < len(pictures):
                    raise ConfigError("fewer names than images were given; give one name for all, or one for each.")
                for prediction in self.predict_batch(pictures, given or None):
                    if not prediction.is_finite:
                        raise ConfigError(
                            f"{prediction.path or 'an image'}: the detector gave a score or a map that is not a finite "
                            "number; its weights are broken, or its precision is too low."
                        )
                    yield prediction
        if not isinstance(names, repeat) and next(names, None) is not None:
            raise ConfigError("more names than images were given; give one name for all, or one for each.")

    def predict_batch(self, pictures: Sequence[Picture], class_names: Sequence[str] | None = None) -> list[Prediction]:
        """Judge one batch of pictures that were read already."""
        with torch.no_grad():
            scores = self(stack(pictures), class_names)
        maps = scores.anomaly_map.float().cpu().numpy()
        median, usual = self.normal_range.tolist()
        known = (median, usual) if math.isfinite(median + usual) else None
        return [
            Prediction(float(score), map_, picture.size or map_.shape, picture.path, known)
            for score, map_, picture in zip(scores.image.tolist(), maps, pictures, strict=True)
        ]

    def check_ready(self, *, has_class_name: bool = False) -> None:
        """Refuse before an image is read.

        Raises:
            NotFittedError: A memory has seen no normal image.
            ConfigError: The prompts need a name and there is none.
        """
        for scorer, label in zip(self._scorers, self.labels, strict=True):
            if not scorer.is_fitted:
                raise NotFittedError(
                    f"scorer '{label}' has seen no normal image. Call detector.fit('folder of normal images') first, "
                    "or give --normal DIR on the command line."
                )
        if not has_class_name:
            self._class_names(None, 1)

    def save(self, folder: str | Path) -> Path:
        """Write spec, own tensors and versions to a folder; :func:`vlmad_core.load` reads it back."""
        from vlmad_core.pipeline.checkpoint import (
            save,  # here, since the store knows pipelines and not the other way round
        )

        return save(self, folder)

    def was_trained_on(self, name: str = "", *, sha256: str = "") -> bool:
        """Whether its parts learned from this data set, by name or by the hash of its list of images."""
        return was_trained_on(self.trained, name=name, sha256=sha256)

    def summary(self) -> str:
        """The parts, their levels, dimensions and sizes, in words."""
        return describe(self)

    # -- insides

    @property
    def _scorers(self) -> list[Scorer]:
        return list(self.scorers)  # type: ignore[arg-type]

    @property
    def labels(self) -> list[str]:
        """A name for each scorer, as in the spec; numbered where two are alike."""
        if self.spec is not None:
            names = [part.use for part in self.spec.scorers]
        else:
            names = [type(scorer).__name__ for scorer in self._scorers]
        return [f"{name}{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]

    def _class_names(self, names: Sequence[str] | None, count: int) -> list[str]:
        if names is not None:
            if len(names) != count:
                raise ConfigError(f"{count} images and {len(names)} names; give one name for each.")
            return list(names)
        if self.class_name is None and self.prompts is not None and self.prompts.needs_class_name:
            raise ConfigError(
                "the prompts speak of what the picture shows, and no name was given. Say it: "
                "detector.predict(image, class_name='metal nut'), or --class-name 'metal nut' on the command line."
            )
        return [self.class_name or "object"] * count

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # .to(device) must move the shared backbone too, for every pipeline that uses it.
        self._cache.clear()
        self.backbone._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> Self:
        """Training mode for the parts; the backbone stays frozen."""
        self._cache.clear()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As ``nn.Module``; forgets cached text_embeddings."""
        self._cache.clear()
        return super().load_state_dict(*args, **kwargs)


def _joined(before: Mapping[str, Any], added: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of normal images after more were added to it."""
    if not before:
        return added
    both = f"{before['sha256']} {added['sha256']}".encode()
    return {"count": before["count"] + added["count"], "sha256": hashlib.sha256(both).hexdigest()}


def _listed(images: Iterable[ImageLike]) -> Iterable[ImageLike]:
    if isinstance(images, Image.Image | np.ndarray):
        return [images]
    return images

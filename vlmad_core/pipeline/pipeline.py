"""A detector: four parts that call each other, with the few verbs that people need: fit, predict, stream, save."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlmad_core.contracts.data import Features, Prediction, Scores, TextEmbeddings
from vlmad_core.contracts.images import ImageLike, Picture, find_images, read, stack
from vlmad_core.contracts.parts import Extractor, Prompts, Scorer
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError, NotFittedError, VlmadError
from vlmad_core.pipeline.checkpoint import write_checkpoint
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.normal_range import HELD_OUT, copy_of, empty_copy, normal_range
from vlmad_core.pipeline.text_cache import TextCache
from vlmad_core.pipeline.trained import describe_training, was_trained_on

if TYPE_CHECKING:
    from vlmad_core.pipeline.spec import PipelineSpec

__all__ = ["Pipeline"]


class Pipeline(nn.Module):
    """Backbone, extractor, prompts and scorers, assembled.

    The backbone is shared, not owned: it is in neither ``parameters()`` nor ``state_dict()``, which hold exactly what
    the parts learned and were fitted on. :func:`vlmad_core.build` makes pipelines from names.

    Args:
        backbone: Frozen image encoder, with a text encoder where there is one.
        extractor: Turns an image into patch or window features.
        scorers: Turn features into scores and anomaly maps.
        prompts: Text embeddings for "normal" and "abnormal"; None for a memory bank alone.
        fuse: How the scorers become one.
        spec: The file it was built from; without it a pipeline cannot be saved.

    Attributes:
        class_name: What the images show, where none is given to a call.
        trained: What its parts learned from; set it after a training loop of your own.
        plugins: Distribution to version, of the parts.
        normal_range: Median and highest value of the maps of held-out normal images, ``[2]``; NaN: unknown.

    Raises:
        IncompatibleError: There is no scorer, or one needs text and there is none.
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
        if not scorers:
            raise IncompatibleError("a pipeline needs at least one scorer.")
        self._shared = (backbone,)  # a tuple hides it from nn.Module, so that it is not owned
        self.extractor = extractor
        self.prompts = prompts
        self.scorers = nn.ModuleList(scorers)
        self.fuse = fuse or Fuse()
        self.spec = spec
        self.class_name: str | None = None
        self.plugins: Mapping[str, str] = {}
        self.trained: Mapping[str, Any] = {}
        self.register_buffer("normal_range", torch.full((2,), math.nan))
        self.normal_range: Tensor
        self._texts = TextCache()
        needing = [label for scorer, label in zip(scorers, self.labels, strict=True) if scorer.needs_text]
        if needing and (prompts is None or backbone.text is None):
            lack = "no prompts were given" if backbone.text is not None else "the backbone has no text encoder"
            raise IncompatibleError(f"scorer '{needing[0]}' compares with text, but {lack}. Use scorer 'memory' alone.")
        self.eval()

    @property
    def backbone(self) -> Backbone:
        """The shared model."""
        return self._shared[0]

    @property
    def labels(self) -> list[str]:
        """A short name for each scorer, as in the spec; numbered where two are alike."""
        if self.spec is not None:
            names = [part.name for part in self.spec.scorers]
        else:
            names = [type(scorer).__name__ for scorer in self.scorers]
        return [f"{name}{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]

    @property
    def memory_scorers(self) -> list[Scorer]:
        """The scorers that are fitted on normal images."""
        return [scorer for scorer in self._scorer_list() if scorer.needs_fit]

    # -- tensors, differentiable from end to end

    def forward(self, images: Tensor, class_names: Sequence[str] | None = None) -> Scores:
        """Score a batch; parts that have learned nothing are not refused here.

        Args:
            images: ``[B, 3, H, W]``, preprocessed.
            class_names: What each image shows; :attr:`class_name` by default.
        """
        backbone = self.backbone
        features = self.extractor(backbone.vision, images.to(backbone.device, backbone.dtype))
        text_embeddings = self.text_embeddings(self._class_names(class_names, len(images)), features)
        return self.score_features(features, text_embeddings, (images.shape[-2], images.shape[-1]))

    def score_features(
        self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]
    ) -> Scores:
        """From features to fused scores with maps of ``size`` = (H, W) pixels."""
        scores = [scorer(features, text_embeddings, size) for scorer in self._scorer_list()]
        return self.fuse(scores, self.labels)

    def text_embeddings(self, class_names: Sequence[str], features: Features | None = None) -> TextEmbeddings | None:
        """``[len(class_names), S, D]``, computed once a name while nothing is being learned; None without prompts."""
        prompts, text = self.prompts, self.backbone.text
        if prompts is None or text is None:
            return None
        if prompts.per_image or self.training or torch.is_grad_enabled():
            made: TextEmbeddings = prompts(text, class_names, features)
            return made
        return self._texts.get(prompts, self.backbone, class_names)

    # -- for people

    def fit(
        self,
        images: str | Path | Iterable[ImageLike],
        class_name: str | None = None,
        *,
        batch_size: int = 8,
        keep: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Self:
        """Fit the memory scorers on normal images. Nothing changes before all of them are done.

        Args:
            images: A folder, or paths, PIL images and arrays.
            class_name: What they show, such as ``"metal nut"``; the default of later predictions.
            batch_size: Images through the backbone at a time.
            keep: Add to what it was fitted on instead of starting afresh; ``normal_range`` is then that of the new
                images.
            progress: Called with the number of images done.

        Raises:
            ImageError: An image cannot be read, or there are none.
            IncompatibleError: No scorer compares with normal images.
        """
        if not self.memory_scorers:
            raise IncompatibleError(
                "no scorer compares with normal images, so there is nothing to fit. Add scorer 'memory', or use a "
                "few-shot recipe: vlmad_core.build(..., few_shot=True)."
            )
        sources: Iterable[ImageLike] = find_images(images) if isinstance(images, str | Path) else _listed(images)
        names = self._class_names(None if class_name is None else [class_name], 1)  # refused before an image is read
        trials = [empty_copy(scorer) if scorer.needs_fit else scorer for scorer in self._scorer_list()]
        scorers = [
            (copy_of(scorer if keep else trial) if scorer.needs_fit else scorer)
            for scorer, trial in zip(self._scorer_list(), trials, strict=True)
        ]
        # Not inference_mode: a memory filled under it could never stand in a graph that is trained.
        with torch.no_grad():
            held = self._fit(sources, [scorer for scorer in scorers if scorer.needs_fit], batch_size, progress)
            texts = [self.text_embeddings(names, features) for features in held]
            found = normal_range(trials, self.fuse, held, texts, self.backbone.preprocess.size)
        # Other scorers in one step: a prediction that runs beside this one has the old ones or the new ones.
        self.scorers = nn.ModuleList(scorers)
        self.normal_range = found.to(self.normal_range)
        self.class_name = self.class_name if class_name is None else class_name
        return self

    def _fit(
        self,
        sources: Iterable[ImageLike],
        scorers: Sequence[Scorer],
        batch_size: int,
        progress: Callable[[int], None] | None,
    ) -> list[Features]:
        """Fit these scorers; gives the features of the first images."""
        done, held = 0, list[Features]()
        with closing(read(sources, self.backbone.preprocess, batch_size=batch_size)) as batches:
            for pictures in batches:
                for picture in pictures:
                    if picture.error:
                        raise ImageError(f"a normal image cannot be read: {picture.error}")
                pixels = stack(pictures).to(self.backbone.device, self.backbone.dtype)
                features = self.extractor(self.backbone.vision, pixels)
                for scorer in scorers:
                    scorer.fit(features)
                held += [features.select(slice(i, i + 1)) for i in range(min(len(pictures), HELD_OUT - len(held)))]
                done += len(pictures)
                if progress is not None:
                    progress(done)
        if not done:
            raise ImageError("no normal images were given.")
        return held

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is one path here, not an iterable of letters
        self, images: ImageLike, class_name: str | None = None, *, batch_size: int = 8
    ) -> Prediction: ...

    @overload
    def predict(
        self, images: Iterable[ImageLike], class_name: str | Sequence[str] | None = None, *, batch_size: int = 8
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        class_name: str | Sequence[str] | None = None,
        *,
        batch_size: int = 8,
    ) -> Prediction | list[Prediction]:
        """Score images and mark where their defects are.

        Args:
            images: One path, PIL image or array; or several of them, in a list or a generator.
            class_name: What they show, one for all or one for each; defaults to the one given to :meth:`fit`.
            batch_size: Images through the backbone at a time.

        Returns:
            One prediction for one image, a list for several. :meth:`stream` gives them one by one.

        Raises:
            ImageError: An image cannot be read.
            NotFittedError: A scorer was fitted on no normal image, or a part that learns has learned nothing yet.
            ConfigError: The prompts need a class name.
            VlmadError: A score or a map is not finite.
        """
        if isinstance(images, str | Path | Image.Image | np.ndarray):
            if isinstance(images, str | Path) and Path(images).is_dir():
                raise ImageError(f"{images}: is a folder; list(detector.stream('{images}')) judges each image in it.")
            (one,) = self.stream([images], class_name)
            return one
        return list(self.stream(images, class_name, batch_size=batch_size))

    def stream(
        self,
        images: str | Path | Iterable[ImageLike],
        class_name: str | Sequence[str] | None = None,
        *,
        batch_size: int = 8,
    ) -> Iterator[Prediction]:
        """As :meth:`predict`, for a folder or any number of images, one prediction at a time in flat memory."""
        # Checked when called, not when the first prediction is asked for.
        self.check_ready(has_class_name=class_name is not None)
        sources: Iterable[ImageLike] = find_images(images) if isinstance(images, str | Path) else _listed(images)
        names = repeat(class_name) if class_name is None or isinstance(class_name, str) else iter(class_name)
        return self._stream(read(sources, self.backbone.preprocess, batch_size=batch_size), names)

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
                    if not (math.isfinite(prediction.score) and np.isfinite(prediction.raw_map).all()):
                        where = prediction.path or "an image"
                        raise VlmadError(f"{where}: the detector gave a score or a map that is not a finite number.")
                    yield prediction
        if not isinstance(names, repeat) and next(names, None) is not None:
            raise ConfigError("more names than images were given; give one name for all, or one for each.")

    def predict_batch(self, pictures: Sequence[Picture], class_names: Sequence[str] | None = None) -> list[Prediction]:
        """Score one batch of images that were read already; nothing is checked."""
        with torch.no_grad():
            scores = self(stack(pictures), class_names)
        maps = scores.anomaly_map.float().cpu().numpy()
        return [
            Prediction(float(score), map_, picture.size or map_.shape, picture.path)
            for score, map_, picture in zip(scores.image.tolist(), maps, pictures, strict=True)
        ]

    def check_ready(self, *, has_class_name: bool = False) -> None:
        """Refuse before an image is read.

        Raises:
            NotFittedError: A scorer was fitted on no normal image, or a part that learns has learned nothing yet.
            ConfigError: The prompts need a class name and there is none.
        """
        self.check_trained()
        for scorer, label in zip(self._scorer_list(), self.labels, strict=True):
            if not scorer.is_fitted:
                raise NotFittedError(
                    f"scorer '{label}' was fitted on no normal image. Call detector.fit('folder of normal images') "
                    "first, or give --normal DIR on the command line."
                )
        if not has_class_name:
            self._class_names(None, 1)

    def check_trained(self) -> None:
        """Refuse parts whose parameters are still random.

        Raises:
            NotFittedError: There are parameters to learn, and :attr:`trained` is empty.
        """
        if not self.trained and any(parameter.requires_grad for parameter in self.parameters()):
            raise NotFittedError(
                "this detector has parts that learn, and they have learned nothing yet. Train it with "
                "vlmad_core.train(...) or `vlmad train`, or take over a paper's checkpoint with "
                "vlmad_core.import_checkpoint(...) or `vlmad import`. After a training loop of your own, set "
                "detector.trained = {'data': {'name': ...}}."
            )

    def save(self, folder: str | Path) -> Path:
        """Write spec, own tensors and versions to a folder; :func:`vlmad_core.load` reads it back.

        The backbone's weights are not copied; their hash is written down and compared when the detector is loaded.

        Raises:
            ConfigError: It was put together by hand, so there is no spec; or the folder cannot be written.
        """
        if self.spec is None:
            raise ConfigError("this pipeline was put together by hand; build it with vlmad_core.build to save it.")
        record = {
            "class_name": self.class_name,
            "spec": self.spec.model_dump(mode="json"),
            "plugins": dict(self.plugins),
            "backbone": dict(self.backbone.provenance),
            "trained": dict(self.trained),
        }
        return write_checkpoint(folder, record, self.state_dict())

    def was_trained_on(self, name: str = "", *, sha256: str = "", contents: Collection[str] = ()) -> bool:
        """Whether its parts learned from a data set: by its images where they are known, else by its name."""
        return was_trained_on(self.trained, name=name, sha256=sha256, contents=contents)

    def summary(self) -> str:
        """One line a part: its name, its levels, dimensions and sizes."""
        backbone, spec, fuse = self.backbone, self.spec, self.fuse
        (height, width), (rows, columns), vision = backbone.preprocess.size, backbone.grid, backbone.vision
        names = [spec.backbone.name, spec.extractor.name] if spec else [type(backbone).__name__, _type(self.extractor)]
        lines = [
            f"backbone   {names[0]}: {height} x {width} pixels, {rows} x {columns} patches, {len(vision.blocks)} "
            f"blocks, width {vision.width}, {'with' if backbone.text is not None else 'no'} text, "
            + str(backbone.dtype).removeprefix("torch."),
            f"extractor  {names[1]}: " + ", ".join(map(str, self.extractor.levels)),
        ]
        if self.prompts is not None:
            used = spec.prompts.name if spec and spec.prompts else _type(self.prompts)
            known = f"class name {self.class_name!r}" if self.class_name else "no class name yet"
            lines.append(f"prompts    {used}: {known}")
        for scorer, label in zip(self._scorer_list(), self.labels, strict=True):
            beside = "text" if scorer.needs_text else "normal images" + ("" if scorer.is_fitted else " (none yet)")
            lines.append(f"scorer     {label}: compares with {beside}")
        lines.append(f"fuse       image {fuse.image}, map {fuse.map}, smooth {fuse.smooth:g} px")
        own, frozen = (sum(p.numel() for p in model.parameters()) for model in (self, backbone))
        lines.append(f"learns     {own:,} numbers; the backbone's {frozen:,} stay as they are")
        return "\n".join([*lines, *([f"trained    {describe_training(self.trained)}"] if self.trained else [])])

    # -- insides

    def _scorer_list(self) -> list[Scorer]:
        return [cast("Scorer", scorer) for scorer in self.scorers]

    def _class_names(self, names: Sequence[str] | None, count: int) -> list[str]:
        if names is not None:
            if len(names) != count:
                raise ConfigError(f"{count} images and {len(names)} names; give one name for each.")
            return list(names)
        if self.class_name is None and self.prompts is not None and self.prompts.class_name_use == "required":
            raise ConfigError(
                "the prompts need a class name, what the image shows, and none was given: "
                "detector.predict(image, class_name='metal nut'), or --class-name 'metal nut' on the command line."
            )
        return [self.class_name or "object"] * count

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # .to(device) must move the shared backbone too, for every pipeline that uses it.
        self._texts.clear()
        self.backbone._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> Self:
        """Training mode for the parts; the backbone stays frozen."""
        self._texts.clear()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As ``nn.Module``; forgets text embeddings that were computed before."""
        self._texts.clear()
        return super().load_state_dict(*args, **kwargs)


def _listed(images: Iterable[ImageLike]) -> Iterable[ImageLike]:
    if isinstance(images, Image.Image | np.ndarray):
        return [images]
    return images


def _type(part: nn.Module) -> str:
    return type(part).__name__

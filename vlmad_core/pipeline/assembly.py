"""The four parts of a detector as one module: from pixels to scores, differentiable from end to end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor, nn

from vlmad_core.contracts.data import Features, Scores, TextEmbeddings
from vlmad_core.contracts.device import to_device
from vlmad_core.contracts.images import Preprocess
from vlmad_core.contracts.parts import Extractor, Prompts, Scorer, TextParts
from vlmad_core.contracts.towers import Backbone
from vlmad_core.contracts.views import Views
from vlmad_core.errors import ConfigError, IncompatibleError, NotFittedError
from vlmad_core.pipeline.arithmetic import CompileMode
from vlmad_core.pipeline.compiled import CompiledExtractor
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.normal_range import empty_copy
from vlmad_core.pipeline.text_cache import TextCache

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vlmad_core.pipeline.decisions import StoredCalibration
    from vlmad_core.pipeline.spec import PipelineSpec, Rotations

__all__ = ["Assembly"]


class Assembly(nn.Module):
    """Backbone, extractor, prompts and scorers; :class:`~vlmad_core.pipeline.Pipeline` adds what people call."""

    def __init__(
        self,
        backbone: Backbone,
        extractor: Extractor,
        scorers: Sequence[Scorer],
        prompts: Prompts | None = None,
        fuse: Fuse | None = None,
        *,
        spec: PipelineSpec | None = None,
        views: Views | None = None,
    ) -> None:
        super().__init__()
        if not scorers:
            raise IncompatibleError("a pipeline needs at least one scorer.")
        self._shared = (backbone,)  # a tuple hides it from nn.Module, so that it is not owned
        self.extractor = extractor
        self.prompts = prompts
        self.scorers = nn.ModuleList(scorers)
        self.fuse = fuse or Fuse()
        self.views = views
        more = range(1, 1 if views is None else views.count)
        self.more_scales = nn.ModuleList(
            nn.ModuleList(empty_copy(scorer) for scorer in scorers if scorer.needs_fit) for _ in more
        )  # each scale has its own memory of normal images; the first one's is in scorers
        self.spec = spec
        self.class_name: str | None = None
        self.plugins: Mapping[str, str] = {}
        self.trained: Mapping[str, Any] = {}
        self.stored_calibration: StoredCalibration | None = None
        self._rules: dict[Hashable, Any] = {}
        self.bits: int | str | None = None  # of the values in 16-bit grey files; None: what the file says, or 16
        self.normals: Mapping[str, Any] = {}  # how many images it was fitted on, and one hash of their contents
        self.normal_images: Sequence[tuple[str, str]] = ()  # path and hash of each, in the order of the fit
        self.rotations: Rotations = "off" if spec is None else spec.references.rotations  # of those images
        self.register_buffer("normal_range", torch.full((2,), math.nan))
        self.normal_range: Tensor
        # Saved with further memories alone, so that the files of other detectors stay as they were.
        has_more = any(scorer.needs_fit for scorer in scorers) and bool(more)
        self.register_buffer("scale_ranges", torch.full((1 + len(more), 2), math.nan), persistent=has_more)
        self.scale_ranges: Tensor
        self.compiled: CompiledExtractor | None = None  # in place of the extractor, while nothing is learned
        self._texts = TextCache()
        self._sentences: dict[str, tuple[Any, TextParts | None]] = {}
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
    def preprocess(self) -> Preprocess:
        """How images are read: as the backbone wants them, with the :attr:`bits` of the camera."""
        return replace(self.backbone.preprocess, bits=self.bits or self.backbone.preprocess.bits, views=self.views)

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
        """The scorers that are fitted on normal images, of the first scale."""
        return [scorer for scorer in self._scorer_list() if scorer.needs_fit]

    def scorers_at(self, scale: int) -> list[Scorer]:
        """The scorers of one scale; those that are fitted on nothing serve all of them."""
        own = self._scorer_list()
        if scale == 0:
            return own
        fitted = iter(cast("nn.ModuleList", self.more_scales[scale - 1]))
        return [cast("Scorer", next(fitted)) if scorer.needs_fit else scorer for scorer in own]

    @property
    def scorers_by_scale(self) -> list[list[Scorer]]:
        """:meth:`scorers_at` for every scale."""
        return [self.scorers_at(scale) for scale in range(1 + len(self.more_scales))]

    # -- tensors, differentiable from end to end

    def compile_extractor(self, mode: CompileMode = "default", tell: Callable[[str], None] = warnings.warn) -> Self:
        """Let `torch.compile` make predictions faster, where it does; see :class:`CompiledExtractor`.

        Args:
            mode: ``"default"``, ``"reduce-overhead"`` or ``"max-autotune"``; the last two use CUDA graphs on a GPU.
            tell: Called with what came of it.
        """
        self.compiled = CompiledExtractor(self.extractor, mode, tell)
        return self

    def forward(self, images: Tensor, class_names: Sequence[str] | None = None) -> Scores:
        """Score a batch; parts that have learned nothing are not refused here.

        Args:
            images: ``[B, 3, H, W]``, preprocessed.
            class_names: What each image shows; :attr:`class_name` by default.
        """
        return self.extract_and_score(images, class_names)[1]

    def extract_and_score(
        self, images: Tensor, class_names: Sequence[str] | None = None, *, scale: int = 0
    ) -> tuple[Features, Scores]:
        """As :meth:`forward`, with the features, by the scorers of one scale."""
        features, text_embeddings = self.extract(images, class_names)
        size = (images.shape[-2], images.shape[-1])
        return features, self.score_features(features, text_embeddings, size, scale=scale)

    def extract(
        self, images: Tensor, class_names: Sequence[str] | None = None
    ) -> tuple[Features, TextEmbeddings | None]:
        """The features of a batch, and the text embeddings for each of its images."""
        backbone = self.backbone
        images = to_device(images, backbone.device, backbone.dtype)
        features = (self.compiled or self.extractor)(backbone.vision, images)
        return features, self.text_embeddings(self._class_names(class_names, len(images)), features)

    def score_features(
        self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int], *, scale: int = 0
    ) -> Scores:
        """From features to fused scores with maps of ``size`` = (H, W) pixels, by the scorers of one scale."""
        scores = [scorer(features, text_embeddings, size) for scorer in self.scorers_at(scale)]
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

"""vlmad: find defects in images with vision-language models, from parts that anyone can exchange.

Names are resolved on first use, so that ``import vlmad_core`` costs nothing; those that need torch import it then.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmad_core.assemble import build as build
    from vlmad_core.builtin.torchvision_shim import import_with_torchvision as import_with_torchvision
    from vlmad_core.component import Component as Component
    from vlmad_core.component import Config as Config
    from vlmad_core.component import Recipe as Recipe
    from vlmad_core.data import Anchors as Anchors
    from vlmad_core.data import Features as Features
    from vlmad_core.data import Level as Level
    from vlmad_core.data import LevelSpec as LevelSpec
    from vlmad_core.data import Prediction as Prediction
    from vlmad_core.data import Scores as Scores
    from vlmad_core.datasets.base import Dataset as Dataset
    from vlmad_core.datasets.base import Facts as Facts
    from vlmad_core.datasets.base import Fit as Fit
    from vlmad_core.datasets.base import Reader as Reader
    from vlmad_core.datasets.base import Sample as Sample
    from vlmad_core.datasets.read import read_dataset as read_dataset
    from vlmad_core.deprecated import Renamed as Renamed
    from vlmad_core.errors import ConfigError as ConfigError
    from vlmad_core.errors import ImageError as ImageError
    from vlmad_core.errors import IncompatibleError as IncompatibleError
    from vlmad_core.errors import NotFittedError as NotFittedError
    from vlmad_core.errors import UnknownComponentError as UnknownComponentError
    from vlmad_core.errors import VlmadError as VlmadError
    from vlmad_core.errors import did_you_mean as did_you_mean
    from vlmad_core.evaluation.benchmark import BenchmarkResults as BenchmarkResults
    from vlmad_core.evaluation.benchmark import benchmark as benchmark
    from vlmad_core.evaluation.plan import BenchmarkPlan as BenchmarkPlan
    from vlmad_core.evaluation.study.report import StudyReport as StudyReport
    from vlmad_core.evaluation.study.run import study as study
    from vlmad_core.fuse import Fuse as Fuse
    from vlmad_core.hookspecs import hookimpl as hookimpl
    from vlmad_core.images import Preprocess as Preprocess
    from vlmad_core.images import find_images as find_images
    from vlmad_core.images import open_image as open_image
    from vlmad_core.ops import combine as combine
    from vlmad_core.ops import highest as highest
    from vlmad_core.ops import linear as linear
    from vlmad_core.ops import match as match
    from vlmad_core.ops import nearest as nearest
    from vlmad_core.ops import resize as resize
    from vlmad_core.ops import smooth as smooth
    from vlmad_core.ops import unit as unit
    from vlmad_core.parts import Extractor as Extractor
    from vlmad_core.parts import Prompts as Prompts
    from vlmad_core.parts import Scorer as Scorer
    from vlmad_core.parts import select_levels as select_levels
    from vlmad_core.pipeline import Pipeline as Pipeline
    from vlmad_core.recipes import save_recipe as save_recipe
    from vlmad_core.registry import Registry as Registry
    from vlmad_core.registry import default_registry as default_registry
    from vlmad_core.spec import PipelineSpec as PipelineSpec
    from vlmad_core.store import load as load
    from vlmad_core.store import save as save
    from vlmad_core.towers import Backbone as Backbone
    from vlmad_core.towers import Block as Block
    from vlmad_core.towers import TextTower as TextTower
    from vlmad_core.towers import VisionTower as VisionTower
    from vlmad_core.towers import check_size as check_size
    from vlmad_core.towers import encode as encode
    from vlmad_core.towers import find_device as find_device
    from vlmad_core.towers import walk as walk
    from vlmad_core.training.options import TrainingOptions as TrainingOptions
    from vlmad_core.training.published import import_checkpoint as import_checkpoint
    from vlmad_core.training.published import read_published as read_published
    from vlmad_core.training.report import TrainingReport as TrainingReport
    from vlmad_core.training.train import train as train

__version__ = "0.1.0"

_HOMES = {
    "assemble": ("build",),
    "builtin.torchvision_shim": ("import_with_torchvision",),
    "component": ("Component", "Config", "Recipe"),
    "data": ("Anchors", "Features", "Level", "LevelSpec", "Prediction", "Scores"),
    "datasets.base": ("Dataset", "Facts", "Fit", "Reader", "Sample"),
    "datasets.read": ("read_dataset",),
    "deprecated": ("Renamed",),
    "errors": (
        "ConfigError",
        "ImageError",
        "IncompatibleError",
        "NotFittedError",
        "UnknownComponentError",
        "VlmadError",
        "did_you_mean",
    ),
    "evaluation.benchmark": ("BenchmarkResults", "benchmark"),
    "evaluation.plan": ("BenchmarkPlan",),
    "evaluation.study.report": ("StudyReport",),
    "evaluation.study.run": ("study",),
    "fuse": ("Fuse",),
    "hookspecs": ("hookimpl",),
    "images": ("Preprocess", "find_images", "open_image"),
    "ops": ("combine", "highest", "linear", "match", "nearest", "resize", "smooth", "unit"),
    "parts": ("Extractor", "Prompts", "Scorer", "select_levels"),
    "pipeline": ("Pipeline",),
    "recipes": ("save_recipe",),
    "registry": ("Registry", "default_registry"),
    "spec": ("PipelineSpec",),
    "store": ("load", "save"),
    "towers": ("Backbone", "Block", "TextTower", "VisionTower", "check_size", "encode", "find_device", "walk"),
    "training.options": ("TrainingOptions",),
    "training.published": ("import_checkpoint", "read_published"),
    "training.report": ("TrainingReport",),
    "training.train": ("train",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        renamed = import_module("vlmad_core.deprecated").NAMES.get(name)
        if renamed is None:
            raise AttributeError(f"module 'vlmad_core' has no attribute '{name}'")
        renamed.warn(f"vlmad_core.{name}", stacklevel=2)
        return getattr(import_module("vlmad_core"), renamed.new)
    value = getattr(import_module(f"vlmad_core.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)

"""Which samples of a data set one can learn from; what is missing is refused before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.errors import ConfigError
from vlmad_core.training.options import TrainingOptions

__all__ = ["usable"]


def usable(data: Dataset, options: TrainingOptions, tell: Callable[[str], None]) -> Sequence[Sample]:
    """Samples that one can learn from.

    Raises:
        ConfigError: None, none with a defect, or masks that are missing.
    """
    samples = [sample for sample in data.samples if sample.label is not None]
    if len(samples) < len(data.samples):
        tell(f"{len(data.samples) - len(samples)} images have no label and are left out.")
    if not samples:
        raise ConfigError(f"data set '{data.name}': there is no image with a label in what was chosen.")
    abnormal = [sample for sample in samples if sample.label]
    if not abnormal:
        raise ConfigError(
            f"data set '{data.name}': none of the {len(samples)} chosen images shows a defect, and a detector learns "
            "from defects. They are usually in the split 'test'."
        )
    bare = [sample for sample in abnormal if not sample.masks]
    if bare and options.on_pixels:
        raise ConfigError(
            f"data set '{data.name}': {len(bare)} of {len(abnormal)} images with defects have no mask, such as "
            f"{_shown(bare[0])}. To learn from labels alone, set training.focal=0, training.dice=0, "
            "training.dice_normal=0 and training.cross_entropy=1."
        )
    return samples


def _shown(sample: Sample) -> str:
    return str(sample.image) if isinstance(sample.image, str | Path) else f"one of '{sample.category}'"

"""What MVTec LOCO knows of its defects beside where they are: how much of each must be found.

Needed for its metric sPRO alone; as masks, MVTec LOCO's are like all others.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vlmad_core.datasets.base import Sample
from vlmad_core.datasets.masks import mask_values
from vlmad_core.datasets.text import read_text
from vlmad_core.errors import ConfigError
from vlmad_core.metrics.saturated import Area

__all__ = ["saturation_areas"]


def saturation_areas(sample: Sample) -> list[Area]:
    """The defects of a MVTec LOCO image with their saturation areas (Bergmann et al., IJCV 2022, section 4.2).

    Each mask file is one defect; the value of its pixels names the entry of ``defects_config.json``, which gives the
    threshold in pixels, or as a share of the defect where it is relative. It is one pixel at least and the defect at
    most.

    Raises:
        ConfigError: No ``defects_config.json`` above the masks, or it does not know a value.
        ImageError: A mask that cannot be read.
    """
    return [_area(Path(mask)) for mask in sample.masks if isinstance(mask, str | Path)]


def _area(path: Path) -> Area:
    values = mask_values(path)
    values = values.max(-1) if values.ndim == 3 else values
    found = np.unique(values[values > 0])
    if len(found) != 1:
        raise ConfigError(
            f"{path}: a mask of MVTec LOCO holds one value beside 0, which names the defect; got {found}."
        )
    config = next((f for f in (p / "defects_config.json" for p in path.parents[:5]) if f.is_file()), None)
    if config is None:
        raise ConfigError(f"{path}: no defects_config.json above it; it comes with MVTec LOCO, in each category.")
    try:
        entries = {int(entry["pixel_value"]): entry for entry in json.loads(read_text(config))}
        entry = entries[int(found[0])]
        name, threshold, relative = entry["defect_name"], entry["saturation_threshold"], entry["relative_saturation"]
    except KeyError as error:
        raise ConfigError(f"{config}: has no entry {error}, which {path} needs.") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{config}: is not a list of defects in JSON ({error}).") from error
    area = int((values > 0).sum())
    return Area(name, values > 0, max(1, min(int(threshold * area) if relative else int(threshold), area)))

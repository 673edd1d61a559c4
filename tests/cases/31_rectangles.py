"""Pictures and backbones that are not square: maps lie as the picture does."""

import numpy as np
from common import end, expect, texture

import vlmad_core

picture, mask = texture(3, (320, 128), True)
for size in ([126, 322], [224, 224], [322, 126]):
    detector = vlmad_core.build("pocket", overrides={"backbone.config.image_size": size})
    found = detector.predict(picture, class_name="sheet")
    inside = found.anomaly_map[np.asarray(mask) > 0].mean() - found.anomaly_map[np.asarray(mask) == 0].mean()
    expect(
        found.anomaly_map.shape == (128, 320) and list(found.raw_map.shape) == size and inside > 0,
        f"{size}: map {found.anomaly_map.shape}, inside minus outside {inside:.3f}",
    )

end()

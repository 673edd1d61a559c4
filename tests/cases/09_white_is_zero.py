"""16-bit TIFF whose photometric interpretation is white-is-zero: must not be shown as its negative."""

import struct
from pathlib import Path

import numpy as np
from common import WORK, end, expect, texture


def tiff(path, array, photometric):
    data, (height, width) = array.tobytes(), array.shape

    def entry(tag, type_, value):
        return struct.pack("<HHII", tag, type_, 1, value)

    tags = [
        entry(256, 4, width),
        entry(257, 4, height),
        entry(258, 3, 8 * array.itemsize),
        entry(259, 3, 1),
        entry(262, 3, photometric),
        entry(273, 4, 8 + 2 + 12 * 10 + 4),
        entry(277, 3, 1),
        entry(278, 4, height),
        entry(279, 4, len(data)),
        entry(339, 3, 3 if array.dtype.kind == "f" else 1),
    ]
    Path(path).write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(tags) + b"\0\0\0\0" + data)


from vlmad_core.contracts import open_image
from vlmad_core.errors import ImageError

grey = np.asarray(texture(2, defect=True)[0].convert("L"))
tiff("black16.tif", grey.astype("<u2") * 257, 1)
tiff("white16.tif", (255 - grey).astype("<u2") * 257, 0)
tiff("white8.tif", 255 - grey, 0)
tiff("whitef.tif", ((255 - grey) / 255).astype("<f4"), 0)
for name in ("black16.tif", "white8.tif", "white16.tif", "whitef.tif"):
    try:
        shown = np.asarray(open_image(WORK / name))[..., 0].astype(int)
        expect(
            abs(shown - grey).mean() < 2,
            f"{name}: shown as stored; off by {abs(shown - grey).mean():.1f} grey levels on average, the negative by {abs(255 - shown - grey).mean():.1f}",
        )
    except ImageError as error:
        expect(
            "white" in str(error).lower() or "photometric" in str(error).lower(),
            f"{name}: refused, with the reason: {error}",
        )

end()

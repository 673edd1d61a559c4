"""TIFF kinds that cannot be read (float RGB, float64, half): the sentence must say what is in the way, or read them."""

# written by hand: baseline TIFF, one strip
import struct
from pathlib import Path

import numpy as np
from common import end, expect, lines, texture, vlmad


def tiff(path, array, bits, photometric, kind):
    samples = 1 if array.ndim == 2 else array.shape[2]
    data, height, width = array.tobytes(), array.shape[0], array.shape[1]
    entries, extra = [], b""
    start = 8 + 2 + 12 * 11 + 4

    def add(tag, type_, values):
        nonlocal extra
        packed = b"".join(struct.pack("<H" if type_ == 3 else "<I", v) for v in values)
        if len(packed) > 4:
            entries.append(struct.pack("<HHII", tag, type_, len(values), start + len(extra)))
            extra += packed + b"\0" * (len(packed) % 2)
        else:
            entries.append(struct.pack("<HHI", tag, type_, len(values)) + packed.ljust(4, b"\0"))

    add(256, 4, [width])
    add(257, 4, [height])
    add(258, 3, [bits] * samples)
    add(259, 3, [1])
    add(262, 3, [photometric])
    place = len(entries)
    entries.append(b"")
    add(277, 3, [samples])
    add(278, 4, [height])
    add(279, 4, [len(data)])
    add(284, 3, [1])
    add(339, 3, [kind] * samples)
    entries[place] = struct.pack("<HHII", 273, 4, 1, start + len(extra))
    Path(path).write_bytes(
        b"II*\0"
        + struct.pack("<I", 8)
        + struct.pack("<H", len(entries))
        + b"".join(entries)
        + b"\0\0\0\0"
        + extra
        + data
    )


rgb = np.asarray(texture(0)[0]).astype(np.float32) / 255
tiff("rgb32f.tif", rgb, 32, 2, 3)
tiff("grey64f.tif", rgb[..., 0].astype(np.float64), 64, 1, 3)
tiff("grey16f.tif", rgb[..., 0].astype(np.float16), 16, 1, 3)
tiff("grey32f.tif", rgb[..., 0].astype(np.float32), 32, 1, 3)
done = vlmad("predict", "grey32f.tif", "--json", "--quiet")
expect(done.returncode == 0, "float32 grey in [0, 1] is judged (for comparison)")
for name in ("rgb32f.tif", "grey64f.tif", "grey16f.tif"):
    said = lines(vlmad("predict", name, "--json", "--quiet"))[0]["error"] or ""
    expect(
        not said or any(w in said for w in ("float", "bits", "8 bits", "mode", "kind")), f"{name}: says why: {said!r}"
    )

end()

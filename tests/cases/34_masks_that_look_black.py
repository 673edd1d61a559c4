"""Masks whose defects are numbered from 1 (VisA) or below 255 (MVTec LOCO)."""

import numpy as np
from common import end, expect, mvtec, save
from PIL import Image

from vlmad_core import read_dataset
from vlmad_core.datasets.masks import mask_of

mvtec("hard")
true = [mask_of(s).mean() for s in read_dataset("hard", "mvtec-layout") if s.label]
for name, change in (
    ("one", lambda a: (a > 0) * 1),
    ("loco", lambda a: (a > 0) * 236),
    ("sixteen", lambda a: (a > 0) * 1),
):
    dtype = np.uint16 if name == "sixteen" else np.uint8
    mvtec(name, write_mask=lambda m, p: save(Image.fromarray(change(np.asarray(m)).astype(dtype)), p))
    found = [mask_of(s).mean() for s in read_dataset(name, "mvtec-layout") if s.label]
    expect(np.allclose(found, true), f"{name}: the same areas")
mvtec(
    "palette",
    write_mask=lambda m, p: save(
        (lambda i: (i.putpalette([0, 0, 0, 128, 0, 0] + [0] * 750), i)[1])(
            Image.fromarray((np.asarray(m) > 0).astype(np.uint8)).convert("P")
        ),
        p,
    ),
)
found = [mask_of(s).mean() for s in read_dataset("palette", "mvtec-layout") if s.label]
expect(np.allclose(found, true), "a palette, as label tools write it: the same areas")

end()

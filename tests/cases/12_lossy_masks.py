"""Masks saved as JPEG, or with soft edges: pixels that are nearly black must not count as defective without a word."""

import numpy as np
from common import end, expect, mvtec, row, save, vlmad
from PIL import ImageFilter

from vlmad_core import read_dataset
from vlmad_core.datasets.masks import mask_of


def share(root):
    return np.mean([mask_of(s).mean() for s in read_dataset(root, "mvtec-layout") if s.label])


mvtec("hard")
mvtec("jpeg", ending="jpg", write_mask=lambda m, p: save(m, p, quality=75))
mvtec("soft", write_mask=lambda m, p: save(m.filter(ImageFilter.GaussianBlur(2)), p))
true = share("hard")


def run(root):
    return vlmad(
        "benchmark", "--data", root, "--recipe", "pocket", "--class-name", f"{root}=sheet", "--out", f"out-{root}"
    )


run("hard")
for root in ("jpeg", "soft"):
    done = run(root)
    message = any(w in done.stderr + done.stdout for w in ("_mask", "lossy", "losses", "grey values", "not two"))
    area = share(root)
    expect(
        abs(area / true - 1) < 0.1 or message,
        f"{root}: marks {area / true:.2f} times the area; AUPRO {row('out-hard')['aupro']:.3f} becomes {row('out-' + root)['aupro']:.3f}, without a word",
    )
    said = vlmad("data", "check", root)
    expect(said.returncode == 1, f"{root}: data check tells it")

end()

"""Masks or pictures of a data set are corrected under the same names: the same benchmark must not repeat old rows."""

import json
from pathlib import Path

from common import end, expect, mvtec, row, save, texture, vlmad
from PIL import Image


def wrong(mask, path):
    save(mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT), path)


mvtec("set", write_mask=wrong)
run = ("benchmark", "--data", "set", "--recipe", "pocket", "--class-name", "set=sheet", "--quiet")
vlmad(*run, "--out", "results")
old = row("results")["pixel_auroc"]
mvtec("set")  # the masks as they should be
done = vlmad(*run, "--out", "results")
vlmad(*run, "--out", "fresh")
new, fresh = row("results")["pixel_auroc"], row("fresh")["pixel_auroc"]
expect(
    abs(new - fresh) < 1e-6 or done.returncode != 0,
    f"masks corrected: pixel AUROC was {old:.3f}, is told as {new:.3f}, and is {fresh:.3f}",
)
for i in range(3):
    save(texture(300 + i)[0], f"set/test/stain/{i:03}.png")  # other pictures, same names
done = vlmad(*run, "--out", "fresh")
vlmad(*run, "--out", "fresh2")
new, fresh = row("fresh")["image_auroc"], row("fresh2")["image_auroc"]
expect(
    abs(new - fresh) < 1e-6 or done.returncode != 0,
    f"pictures exchanged: image AUROC is told as {new:.3f}, and is {fresh:.3f}",
)
learn = ("train", "--recipe", "april-gan", "--backbone", "pocket", "--data", "set", "--epochs", "1", "--quiet")
mvtec("set", write_mask=wrong)
vlmad(*learn, "--out", "learnt")
mvtec("set")
done = vlmad(*learn, "--out", "learnt")
vlmad(*learn, "--out", "learnt-fresh")


def loss(folder):
    return json.loads(Path(folder, "detector.json").read_text())["trained"]["loss"]


expect(
    abs(loss("learnt") - loss("learnt-fresh")) < 1e-3 or done.returncode != 0,
    f"train: the same command after the masks were corrected learns from them, or refuses (loss {loss('learnt'):.3f}, trained afresh {loss('learnt-fresh'):.3f})",
)

end()

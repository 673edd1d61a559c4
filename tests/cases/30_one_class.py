"""Test pictures of one class alone."""

import shutil

from common import end, expect, mvtec, row, vlmad

mvtec("bad", good=2)
shutil.rmtree("bad/test/good")
mvtec("good", good=3, bad=0)
for root in ("bad", "good"):
    done = vlmad(
        "benchmark", "--data", root, "--recipe", "pocket", "--class-name", f"{root}=sheet", "--out", f"out-{root}"
    )
    expect(done.returncode == 0 and row(f"out-{root}")["image_auroc"] is None, f"{root}: no image AUROC is made up")
expect(
    row("out-bad")["pixel_auroc"] is not None and row("out-bad")["aupro"] is not None,
    "pixel metrics where there are masks",
)
expect(vlmad("fit", "good/train/good", "--out", "detector").returncode == 0, "fit on normal pictures alone")

end()

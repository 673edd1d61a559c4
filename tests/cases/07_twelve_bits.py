"""A 12-bit camera in a 16-bit file: nearly black after the fixed scale; there must be a note, or an option."""

import subprocess

import numpy as np
from common import BIN, WORK, end, expect, texture, vlmad
from PIL import Image

for i in range(3):
    grey = np.asarray(texture(i, defect=i == 2)[0].convert("L")).astype(np.uint16)
    Image.fromarray(grey * 16 + 8).save(WORK / f"mono12-{i}.png")
from vlmad_core.contracts import open_image

shown = np.asarray(open_image(WORK / "mono12-0.png"))
print("shown to the model: mean", shown.mean().round(1), "highest", shown.max())
done = vlmad("predict", *sorted(WORK.glob("mono12-*.png")), "--json")
option = subprocess.run([str(BIN / "vlmad"), "predict", "--help"], capture_output=True, text=True).stdout
message = any(word in done.stderr.lower() for word in ("bit", "dark", "scale"))
expect(
    shown.max() > 60 or message or "bits" in option,
    "pictures that are all below a sixteenth of the scale are told, or the scale can be said",
)

end()

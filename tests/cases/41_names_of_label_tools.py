"""Masks as Label Studio exports them, with names that no picture has: told, never matched by chance."""

import shutil

from common import end, expect, save, texture, vlmad
from PIL import Image

for i in range(2):
    save(texture(i)[0], f"set/good/{i:03}.png")
picture, mask = texture(200, defect=True)
save(picture, "set/defects/000.png")
save(mask, "set/masks/task-1-annotation-1-by-1-tag-stain-0.png")
done = vlmad("data", "check", "set")
expect(done.returncode == 1 and "task-1" in done.stdout, "message")
shutil.rmtree("set/masks")
save(mask, "set/masks/000/a.png")
save(Image.new("L", mask.size, 0), "set/masks/000/b.png")
expect(vlmad("data", "check", "set").returncode == 0, "several masks of one picture in a folder of its name: joined")

end()

"""Sub-folders that are symbolic links: their images must not be left out without a word."""

import os
from pathlib import Path

from common import end, expect, lines, save, texture, vlmad

for i in range(2):
    save(texture(i)[0], f"store/camera-a/{i}.png")
save(texture(9, defect=True)[0], "store/camera-b/0.png")
save(texture(5)[0], "line/own.png")
for name in ("camera-a", "camera-b"):
    os.symlink(Path("store", name).absolute(), Path("line", name))
done = vlmad("predict", "line", "--json")
seen = lines(done)
expect(len(seen) == 4 or "camera-" in done.stderr, f"4 images are there, {len(seen)} were judged, and the rest is told")
os.makedirs("only")
os.symlink(Path("store/camera-a").absolute(), "only/camera-a")
done = vlmad("predict", "only", "--json")
expect(len(lines(done)) == 2 or "link" in done.stderr, "a folder of nothing but links is read, or told")
done = vlmad("fit", "line", "--out", "detector", "--class-name", "sheet")
expect("4 normal images" in done.stdout + done.stderr or "camera-" in done.stderr, "fit: the same")
one = len(lines(vlmad("predict", "line/**/*.png", "--json", "--quiet")))
expect(one == 4, f"the pattern line/**/*.png finds {one} of 4 (for comparison)")

end()

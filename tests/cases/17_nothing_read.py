"""A data set of which nothing is read (MVTec 3D-AD: pictures one folder deeper): a command must not end in success."""

from common import end, expect, save, texture, vlmad

for part in ("train/good", "validation/good", "test/good", "test/hole"):
    for i in range(2):
        save(texture(i)[0], f"set/bagel/{part}/rgb/{i:03}.png")
for i in range(2):
    save(texture(i, defect=True)[1], f"set/bagel/test/hole/gt/{i:03}.png")
done = vlmad("data", "show", "set")
expect(done.returncode != 0, f"data show: 0 images, exit {done.returncode}")
done = vlmad("benchmark", "--data", "set", "--recipe", "pocket", "--out", "out")
expect(done.returncode != 0, f"benchmark: 0 cells, exit {done.returncode}")

end()

"""Two pictures of one kind that differ in their ending alone: each must get its own mask, or none and a word."""

from common import end, expect, mvtec, save, texture, vlmad

from vlmad_core import read_dataset

mvtec("set", bad=0)
a, b = texture(200, defect=True), texture(207, defect=True)
save(a[0], "set/test/stain/000.png")
save(b[0], "set/test/stain/000.jpg", quality=95)
save(a[1], "set/ground_truth/stain/000_mask.png")
wrong = [s.image.name for s in read_dataset("set", "mvtec-layout") if s.label and s.masks and s.image.name != "000.png"]
expect(not wrong, f"one mask, made for 000.png: it is given to {wrong or 'none else'}")
save(b[1], "set/ground_truth/stain/000_mask.bmp")
used = {m.name for s in read_dataset("set", "mvtec-layout") for m in s.masks}
said = vlmad("data", "check", "set")
left = {"000_mask.png", "000_mask.bmp"} - used
expect(
    not left or any(name in said.stdout for name in left),
    f"two masks: {sorted(left) or 'none'} left out without a word",
)

end()

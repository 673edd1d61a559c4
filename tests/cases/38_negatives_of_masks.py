"""Masks that are white where nothing is wrong: data check should notice."""

from common import end, expect, mvtec, save, vlmad
from PIL import ImageOps

mvtec("set", write_mask=lambda m, p: save(ImageOps.invert(m), p))
done = vlmad("data", "check", "set")
expect(done.returncode == 1, "every mask marks more than nine tenths of its picture, and the check tells it")

end()

"""A link that leads back up: each picture is counted once."""

import os

from common import end, expect, save, texture

save(texture(0)[0], "set/good/0.png")
os.makedirs("set/good/sub")
os.symlink("..", "set/good/sub/back")
from vlmad_core import read_dataset

count = len(read_dataset("set", "folders"))
expect(count == 1, f"1 picture, {count} are counted")

end()

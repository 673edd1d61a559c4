"""A folder ground_truth inside test: its masks must not be counted as defective pictures."""

import os
import shutil

from common import end, expect, mvtec, vlmad

from vlmad_core import read_dataset

mvtec("set")
shutil.move("set/ground_truth/stain", "set/test/ground_truth")
os.rmdir("set/ground_truth")
done = vlmad("data", "check", "set")
count = sum(1 for s in read_dataset("set", "mvtec-layout") if s.label)
expect(
    count == 3 or "ground_truth" in done.stdout,
    f"3 defective pictures, {count} are counted, and data check says: {done.stdout.strip()[-40:]!r}",
)

end()

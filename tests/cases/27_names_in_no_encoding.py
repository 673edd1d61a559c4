"""A file name that is not UTF-8."""

import os
from pathlib import Path

from common import WORK, end, expect, lines, save, texture, vlmad

path = os.fsencode(str(WORK / "line")) + b"/gr\xf6\xdfe.png"
os.makedirs("line")
save(texture(0)[0], "x.png")
os.rename(b"x.png", path)
expect(vlmad("predict", "line", "--out", "results").returncode == 0, "judged, with files")
expect(len(lines(vlmad("predict", "line", "--json", "--quiet"))) == 1, "as JSON")
from vlmad_core.run import read_results

found = next(iter(read_results("results")))
expect(
    Path(found.path).exists() and (Path("results") / found.anomaly_map).exists(),
    "the path in the results leads back to the file",
)

end()

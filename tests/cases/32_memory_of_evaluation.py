"""Pixel metrics on large pictures stay in bounded memory."""

import resource

from common import end, expect, mvtec, row, vlmad

mvtec("set", good=6, bad=6, size=(2400, 1800))
done = vlmad(
    "benchmark",
    "--data",
    "set",
    "--recipe",
    "pocket",
    "--class-name",
    "set=sheet",
    "--resolution",
    "native",
    "--out",
    "out",
    "--quiet",
)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
expect(
    done.returncode == 0 and row("out")["aupro"] is not None and peak < 4,
    f"12 pictures of 4.3 megapixels: {peak:.1f} GB at most",
)

end()

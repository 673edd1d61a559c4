"""Folders called OK and NG, or Good: found on every system, or told."""

from common import end, expect, save, texture, vlmad

for good in ("OK", "Good"):
    root = f"set-{good}"
    for i in range(2):
        save(texture(i)[0], f"{root}/train/{good}/{i}.png")
        save(texture(9 + i)[0], f"{root}/test/{good}/{i}.png")
        save(texture(20 + i, defect=True)[0], f"{root}/test/NG/{i}.png")
    done = vlmad("data", "show", root)
    expect(
        done.returncode == 0 or any(w in done.stderr.lower() for w in ("capital", "lower case", f"{good.lower()}'")),
        f"train/{good}: read, or told that it must be called {good.lower()}",
    )

end()

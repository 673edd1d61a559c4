"""A table written on Windows, with backslashes in its paths, read elsewhere: read, or told what is in the way."""

from pathlib import Path

from common import end, expect, row, save, texture, vlmad

save(texture(0)[0], "caps/0.png")
picture, mask = texture(1, defect=True)
save(picture, "caps/1.png")
save(mask, "caps/masks/1.png")
Path("list.csv").write_text("image,label,mask\ncaps\\0.png,good,\ncaps\\1.png,defective,caps\\masks\\1.png\n")
done = vlmad("data", "check", "list.csv")
expect(
    done.returncode == 0
    or ("\\" in done.stdout and any(w in done.stdout.lower() for w in ("backslash", "windows", "'/'", "slash"))),
    "data check: clean, or says that the paths are written with backslashes",
)
done = vlmad(
    "benchmark", "--data", "list.csv", "--recipe", "pocket", "--class-name", "list=sheet", "--out", "out", "--quiet"
)
expect(row("out")["status"] == "done" or "slash" in row("out")["error"], f"benchmark: {row('out')['error']}")

end()

"""A table that a spreadsheet of a language with decimal commas saved: read, or a sentence that says what is in the way."""

from pathlib import Path

from common import end, expect, save, texture, vlmad

save(texture(0)[0], "caps/0.png")
save(texture(1, defect=True)[0], "caps/1.png")
for name, mark in (("a.csv", ";"), ("b.csv", "\t")):
    Path(name).write_text(f"image{mark}label\ncaps/0.png{mark}good\ncaps/1.png{mark}defective\n")
    done = vlmad("data", "show", name)
    expect(
        done.returncode == 0
        or any(w in done.stderr.lower() for w in ("semicolon", "comma", "separat", "delimit", "tabs")),
        f"{name}: read, or told that commas are expected",
    )
Path("upper.csv").write_text("Image,Label\ncaps/0.png,good\n")
done = vlmad("data", "show", "upper.csv")
expect(done.returncode == 0 or "'Image'" in done.stderr, "a header with capitals: read, or told")

end()

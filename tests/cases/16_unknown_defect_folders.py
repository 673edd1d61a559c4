"""good/ beside crack/ and colour/: defect folders with names of their own must not be left out without a word."""

from common import end, expect, row, save, texture, vlmad

for i in range(3):
    save(texture(i)[0], f"set/good/{i:03}.png")
    save(texture(200 + i, defect=True)[0], f"set/crack/{i:03}.png")
    save(texture(210 + i, defect=True)[0], f"set/colour/{i:03}.png")
for command in (("data", "show", "set"), ("data", "check", "set")):
    done = vlmad(*command)
    expect(
        "crack" in done.stdout + done.stderr,
        f"{' '.join(command)}: tells that crack/ and colour/ are left out, or counts them",
    )
done = vlmad("benchmark", "--data", "set", "--recipe", "pocket", "--class-name", "set=sheet", "--out", "out")
expect("crack" in done.stdout + done.stderr or row("out")["defective"] == 6, "benchmark: the same")

end()

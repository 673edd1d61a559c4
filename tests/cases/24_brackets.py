"""Brackets in names of folders and files."""

from common import end, expect, lines, save, texture, vlmad

for name in ("0.png", "img[1].png"):
    save(texture(0)[0], f"2024 [lot 7]/{name}")
expect(len(lines(vlmad("predict", "2024 [lot 7]", "--json", "--quiet"))) == 2, "a folder with brackets")
expect(len(lines(vlmad("predict", "2024 [lot 7]/img[1].png", "--json", "--quiet"))) == 1, "a file with brackets")
done = vlmad("predict", "2024 [lot 7]/*.png", "--json", "--quiet")
expect(
    len(lines(done)) == 2 or "[[]" in done.stderr or "bracket" in done.stderr,
    "a pattern below a folder with brackets: finds them, or says how brackets are written",
)

end()

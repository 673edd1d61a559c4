"""Pictures with endings that the folder search does not know, though they can be read: told, or judged."""

from common import end, expect, lines, save, texture, vlmad

picture = texture(0)[0]
save(picture, "line/0.png")
for ending, kind in (("jfif", "JPEG"), ("jpe", "JPEG"), ("avif", "AVIF"), ("tga", "TGA"), ("mpo", "MPO")):
    save(picture, f"line/{ending}.{ending}", format=kind)
done = vlmad("predict", "line", "--json")
count = len(lines(done))
alone = len(
    lines(vlmad("predict", *[f"line/{e}.{e}" for e in ("jfif", "jpe", "avif", "tga", "mpo")], "--json", "--quiet"))
)
expect(alone == 5, f"named outright, {alone} of 5 are judged (for comparison)")
expect(count == 6 or "jfif" in done.stderr, f"as a folder, {count} of 6 are judged, and the rest is told")

end()

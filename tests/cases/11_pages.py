"""A TIFF of several pages (one part a page): pages after the first must be judged, or it must be told that they are not."""

from common import end, expect, lines, texture, vlmad

pages = [texture(i, defect=i == 2)[0] for i in range(3)]
pages[0].save("stack.tif", save_all=True, append_images=pages[1:])
done = vlmad("predict", "stack.tif", "--json")
expect(
    len(lines(done)) == 3 or "page" in done.stderr or "frame" in done.stderr,
    f"3 pages, {len(lines(done))} judged, and the rest is told",
)
vlmad("predict", "stack.tif", "--out", "results", "--quiet")

end()

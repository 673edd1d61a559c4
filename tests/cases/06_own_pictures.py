"""Results inside the folder of pictures: a second run must not judge the maps and overlays of the first."""

from common import WORK, end, expect, lines, save, texture, vlmad

for i in range(2):
    save(texture(i)[0], f"photos/{i}.png")
vlmad("predict", "photos", "--out", "photos/first", "--quiet")
vlmad("predict", "photos", "--out", "photos/second", "--quiet")
judged = (WORK / "photos/second/results.csv").read_text().splitlines()[1:]
expect(len(judged) == 2, f"2 pictures, {len(judged)} judged: {[line.split(',')[0] for line in judged][2:4]}")
done = vlmad("predict", "photos", "--json")
expect(len(lines(done)) == 2, f"without --out {len(lines(done))} are judged")

end()

"""The camera writes the next part under the same name: the same command must not repeat the old verdict."""

from common import WORK, end, expect, lines, save, texture, vlmad

save(texture(0)[0], "line/part.png")
vlmad("predict", "line", "--out", "results", "--quiet")


def score():
    return float((WORK / "results/results.csv").read_text().splitlines()[1].split(",")[1])


before = score()
save(texture(3, defect=True)[0], "line/part.png")
done = vlmad("predict", "line", "--out", "results")
fresh = lines(vlmad("predict", "line", "--json", "--quiet"))[0]["score"]
message = done.returncode != 0 or "changed" in done.stderr or "earlier" in done.stderr
expect(
    abs(score() - fresh) < 1e-4 or message,
    f"file says {score():.4f} (the old picture: {before:.4f}), the picture there now: {fresh:.4f}",
)

end()

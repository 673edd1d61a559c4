"""A console that knows ASCII or cp1252 alone, and names beyond it."""

from pathlib import Path

from common import end, expect, save, texture, vlmad

save(texture(0)[0], "Prüfling-检查/größe-Ω.png")
for encoding in ("ascii", "cp1252"):
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding}
    for command in (
        ("predict", "Prüfling-检查", "--progress"),
        ("list", "dataset"),
        ("predict", "--help"),
        ("data", "list"),
        ("doctor",),
    ):
        expect(vlmad(*command, **env).returncode == 0, f"{encoding}: {' '.join(command)}")
vlmad("predict", "Prüfling-检查", "--out", "results", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
expect(
    "größe-Ω.png" in Path("results/results.csv").read_text(encoding="utf-8"),
    "results.csv is UTF-8 whatever the console is",
)

end()

"""Write ``published.md`` from the data: ``python docs/build_published.py``. A test checks that it was done."""

from __future__ import annotations

from pathlib import Path

from vlmad_core.report.means import METRICS
from vlmad_core.report.published import Published, results
from vlmad_core.report.render import Cell, Table

PAGE = Path(__file__).parent / "published.md"

HEAD = """# Published numbers

What papers and their repositories print of the methods that have a recipe here, as data that ships with vlmad. A
benchmark on MVTec AD or VisA puts its own numbers beside them:

```python
from vlmad_core.report.published import against, lookup
from vlmad_core.report.rows import read_rows

table = against(read_rows("runs/mvtec"), margin=1.0)  # None where nothing is published that could stand beside it
lookup("april-gan", "visa", shots=4)  # each number with its spread, setting and source
```

A difference is bold where it is larger than the margin, 1 point if nothing is said, and larger than twice the published
standard deviation. Whatever is not the same thing is not compared, and the table says why:

- Only means over **all** categories are published, so a benchmark that lacks one gets a sentence, and no difference.
- **AUPRO** has variants that differ by points. Most published numbers are of the code that takes 200 thresholds between
  the lowest and the highest score and does not interpolate; they stand beside `aupro_200`, never beside the exact
  `aupro`. How WinCLIP's authors computed theirs is not known, so it is printed and compared with nothing.
- **Settings** are kept apart. WinCLIP knows words alone. APRIL-GAN and AnomalyCLIP have learned from pixel-annotated
  defects of another data set (VisA for numbers on MVTec AD, and the other way round), which they call zero-shot too.
- A run with another backbone, size, extractor or prompts than the paper's is compared, and marked as not its setting.

In percent, with the standard deviation over seeds where one is published. "By" is the paper, or who implemented the
method again; the notes say where a number was read.
"""

FOOT = """## Where they differ from each other

- The log of AnomalyCLIP's repository and its paper differ by up to 0.3 points; the published checkpoints are the log's.
- Two implementations of WinCLIP reach 90.4 and 70.2 image AUROC on MVTec AD where the paper has 91.8: what a paper
  leaves open costs that much. `vlmad list recipe` has presets equal in numbers to three implementations.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for dataset, title in (("mvtec-ad", "MVTec AD"), ("visa", "VisA")):
        parts.append(f"## {title}\n\n{_table([one for one in results() if one.dataset == dataset]).markdown()}")
    return "\n".join([*parts, FOOT])


def _table(found: list[Published]) -> Table:
    lines: dict[tuple[str, str, str, int], dict[str, Published]] = {}
    for one in found:
        lines.setdefault((one.method, one.setting, one.by, one.shots), {})[one.metric] = one
    metrics = [name for name in METRICS if any(name in line for line in lines.values())]
    heads = ["method", "setting", "by", "shots", *(METRICS[name] for name in metrics), "AUPRO, unknown variant"]
    rows = []
    for labels, line in lines.items():
        cells = [_cell(line.get(name)) for name in [*metrics, "aupro_unknown"]]
        rows.append((*(Cell(str(label)) for label in labels), *cells))
    return Table(tuple(heads), tuple(rows), 4, "")


def _cell(one: Published | None) -> Cell:
    return Cell("") if one is None else Cell(value=one.value, spread=one.std, notes=(f"Read in {one.source}.",))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Tables: what is averaged over what, what is marked, and that words stay words in every format."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.report.means import group
from vlmad_core.report.render import Cell, Table
from vlmad_core.report.tables import by_category, page, table

NASTY = r"a|b_c & 50% $x$ <i>\n{#}~^ [1] *z* =1"


def column(made, name):
    return [line[made.columns.index(name)] for line in made.rows]


def test_mean_over_seeds_then_categories_and_spread_over_seeds(row):
    values = np.random.default_rng(0).uniform(0.5, 1, (3, 4))  # seeds x categories
    rows = [row(category=f"c{j}", shots=4, seed=i, value=values[i, j]) for i in range(3) for j in range(4)]
    (cell,) = column(table(rows), "image AUROC")
    assert cell.value == pytest.approx(100 * values.mean())
    assert cell.spread == pytest.approx(100 * values.mean(1).std(ddof=1))
    assert cell.notes == ()


def test_categories_weigh_the_same_however_many_images_they_have(row):
    rows = [
        row(category="big", good=1000, defective=1000, value=1.0),
        row(category="small", good=1, defective=1, value=0.5),
    ]
    made = table(rows)
    assert column(made, "image AUROC")[0].value == 75
    assert column(made, "good + defective")[0].text == "1001 + 1001"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "not tested"),
        ({"status": "failed", "error": "no memory left."}, "failed: no memory left"),
        ({"value": None}, "not defined there"),
        ({"value": float("nan")}, "not defined there"),
    ],
)
def test_a_mean_over_fewer_categories_is_marked_and_never_the_best(row, change, said):
    whole = [row("whole", name, value=0.7) for name in ("a", "b", "c")] + [row("next", n, value=0.6) for n in "abc"]
    part = [row("part", name, value=0.9) for name in ("a", "b")] + (
        [] if change is None else [row("part", "c", **change)]
    )
    made = table(whole + part, metrics=["image_auroc"])
    best, _, cell = column(made, "image AUROC")
    assert best.strong and not cell.strong
    note = next(note for note in made.notes if "2 of 3 categories" in note)
    assert f"without c ({said})" in note
    assert note in made.rows[2][0].notes  # one metric: said of the whole line


def test_nothing_at_all_is_a_dash_with_its_reason(row):
    made = table([row("a"), row("b", status="failed", error="it broke", image_size=None)])
    assert [cell.shown() for cell in made.rows[1][2:]] == ["\u2013"] * 8
    assert any("failed: it broke" in note for note in made.notes)
    assert "size" not in made.columns  # unknown is no other size


def test_a_failed_row_joins_the_line_that_it_belongs_to(row):
    rows = [row(category=name, image_size=size) for name in "ab" for size in ([224, 224], [448, 448])]
    failed = row(category="a", image_size=None, status="failed", error="x", backbone="other")
    assert len(group([*rows, failed])) == 3
    assert len(group([*rows[:2], row(category="b", image_size=None, status="failed")], ["method", "image_size"])) == 3
    one = [row(category="a"), row(category="b", image_size=None, status="failed", error="x")]
    assert len(group(one, ["method", "image_size"])) == 1


def test_fewer_seeds_of_a_category_are_told(row):
    rows = [row(category=c, shots=1, seed=s) for c in "ab" for s in range(3) if (c, s) != ("b", 2)]
    assert "b: 2 of 3 seeds." in table(rows).notes


def test_best_competes_among_the_same_data_set_and_number_of_normals(row):
    rows = [row(m, shots=k, value=v) for m, k, v in [("a", 0, 0.6), ("b", 0, 0.7), ("a", 4, 0.9), ("b", 4, 0.8)]]
    made = table(rows, metrics=["image_auroc"])
    assert {(r[0].text, r[1].text) for r in made.rows if r[-1].strong} == {("b", "0"), ("a", "4")}
    assert "Bold: the best of each number of normal images." in made.caption


def test_ties_as_shown_are_both_best(row):
    made = table([row("a", value=0.70001), row("b", value=0.70002), row("c", value=0.6)], metrics=["image_ap"])
    assert [cell.strong for cell in column(made, "image AP")] == [True, True, False]


def test_learned_from_the_judged_data_set_is_marked_and_never_the_best(row):
    made = table([row("cheat", value=0.99, trained_on_this=True), row("a", value=0.7), row("b", value=0.6)])
    assert [cell.strong for cell in column(made, "image AUROC")] == [False, True, False]
    assert any("Trained on the data set" in note for note in made.rows[0][0].notes)


def test_what_cannot_be_known_of_a_training_is_said_and_its_name_alone_keeps_it_from_being_the_best(row):
    others = row("same name", value=0.99, dataset="mvtec-ad", trained_on_this=None, trained_on=["MVTec AD"])
    made = table(
        [
            others,
            row("other name", value=0.8, dataset="mvtec-ad", trained_on_this=None, trained_on=["visa"]),
            row("a", value=0.7, dataset="mvtec-ad"),
        ]
    )
    assert [cell.strong for cell in column(made, "image AUROC")] == [False, True, False]
    same, other, none = (" ".join(cells[0].notes) for cells in made.rows)
    assert "cannot be known" in same and "It names MVTec AD, so it is never the best." in same
    assert "cannot be known" in other and "It names visa." in other
    assert "known" not in none


def test_data_sets_are_never_averaged_together(row):
    made = table([row(dataset="one", value=0.9), row(dataset="two", value=0.5)])
    assert [cell.value for cell in column(made, "image AUROC")] == [90, 50]
    assert column(made, "data set")[0].text == "one"


def test_how_it_was_judged_stands_in_the_caption_and_what_differs_in_notes(row):
    rows = [row("a"), row("b", resolution=[64, 64], pixel_exact=False, pixel_bound=2e-4)]
    made = table(rows)
    assert "Image score: recipe's own." in made.caption
    assert any("64 x 64" in note for note in made.rows[1][0].notes)
    assert any("streamed, at most 0.02 off" in note for note in made.notes)
    assert "Pixel" not in table(rows, metrics=["image_auroc"]).caption


def test_unreadable_images_are_counted_once(row):
    broken = [{"path": "x.png", "error": "cut short"}]
    made = table([row(shots=1, seed=s, unreadable=broken) for s in range(3)])
    assert "1 image could not be read." in made.notes


@pytest.mark.parametrize(
    ("changes", "by", "message"),
    [
        ({"extractor": "dpam"}, None, "differ in extractor"),
        ({"shots": 4}, ["method"], "Group by 'shots' too."),
        ({}, None, "two rows of .* have category bolt and seed 0"),
        ({}, ["methd"], "Did you mean 'method'"),
    ],
)
def test_rows_that_must_not_be_averaged_are_refused(row, changes, by, message):
    with pytest.raises(ConfigError, match=message):
        table([row(), row(**changes)], by=by)


def test_exact_and_stepped_aupro_never_share_a_table(row):
    rows = [row(aupro_200=0.5)]
    assert "AUPRO, 200 steps" not in table(rows).columns
    assert "AUPRO, 200 steps" in table(rows, metrics=["aupro_200"]).columns
    with pytest.raises(ConfigError, match="Make two tables"):
        table(rows, metrics=["aupro", "aupro_200"])
    with pytest.raises(ConfigError, match="Did you mean 'aupro'"):
        table(rows, metrics=["aupr"])
    with pytest.raises(ConfigError, match="no rows"):
        table([])


def test_each_category_with_its_interval_and_their_mean(row):
    rows = [row(m, c, value=v) for m, c, v in [("a", "x", 0.8), ("a", "y", 0.6), ("b", "x", 0.7), ("b", "y", 0.9)]]
    made = by_category(rows, "image_auroc")
    assert made.columns == ("category", "good + defective", "a", "b")
    assert [[cell.value for cell in line[2:]] for line in made.rows] == [[80, 70], [60, 90], [70, 80]]
    assert [[cell.strong for cell in line[2:]] for line in made.rows] == [[True, False], [False, True], [False, True]]
    assert made.rows[0][2].interval == pytest.approx((74, 82))
    # Half widths of independent numbers add as squares: 6 and 2 of two categories.
    assert made.rows[2][2].interval == pytest.approx((70 - 6 / np.sqrt(2), 70 + 2 / np.sqrt(2)))
    assert "In brackets: 95 % interval over images, for the draws of normal images at hand." in made.caption
    assert made.rows[0][1].text == "24 + 48" and made.rows[2][1].text == "48 + 96"


def test_categories_of_two_data_sets_have_a_mean_each(row):
    rows = [row("a", c, dataset=d) for d in ("one", "two") for c in "xy"]
    made = by_category(rows, "aupro")
    assert [line[0].text for line in made.rows] == ["one, x", "one, y", "one, mean", "two, x", "two, y", "two, mean"]
    assert made.columns == ("category", "good + defective", "a")  # a method has one column, whatever the data set
    assert [line[2].shown() for line in made.rows] == ["80.0"] * 6
    made = by_category([*rows, row("b", "x", dataset="two", value=0.7), row("b", "y", dataset="two")], "aupro")
    assert [line[3].shown() for line in made.rows] == ["", "", "", "70.0", "80.0", "75.0"]


def test_a_method_without_a_value_has_no_column_and_is_named(row):
    rows = [row("a"), row("broken", status="failed", error="no.", value=None)]
    made = by_category(rows, "image_auroc")
    assert made.columns[2:] == ("a",)
    assert "Without a value, so without a column: broken." in made.caption


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"defective": 0}, "no defective image there"),
        ({"good": 0}, "no good image there"),
    ],
)
def test_data_of_one_kind_say_so_where_there_is_no_metric(row, changes, why):
    made = table([row("a", value=None, pixel_exact=None, **changes)])
    assert why in " ".join(made.notes)
    assert "image AUROC" in made.columns


def test_no_masks_are_told_where_pixel_metrics_are_asked_for(row):
    made = table([row("a", pixel_exact=None, aupro=None)], metrics=["image_auroc", "aupro"])
    assert "no masks there" in " ".join(made.notes)


# -- formats


@pytest.fixture
def nasty() -> Table:
    noted = Cell(value=-12.345, spread=0.5, signed=True, strong=True, notes=(f"note {NASTY}",))
    lines = ((Cell(NASTY), noted), (Cell("[next"), Cell()), (Cell("two\nlines"), Cell(value=1.0, interval=(-0.5, 2.0))))
    return Table((f"head {NASTY}", "value"), lines, 1, f"caption {NASTY}")


def test_markdown_keeps_its_columns(nasty):
    lines = [line for line in nasty.markdown().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}
    assert lines[2].endswith("**\u221212.3 \u00b1 0.5** <sup>a</sup> |")
    assert lines[3] == r"| \[next | " + "\u2013 |"
    assert lines[4] == "| two lines | 1.0 (\u22120.5 to 2.0) |"
    assert "<i>" not in nasty.markdown() and r"\*z\*" in nasty.markdown()


def test_latex_has_no_bare_special_and_balanced_braces(nasty):
    text = nasty.latex()
    assert text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == 1
    words = text[text.index("\\midrule") : text.index("\\bottomrule")]
    assert "a\\textbar{}b\\_c \\& 50\\% \\$x\\$ \\textless{}i\\textgreater{}" in words
    assert "\n{[}next & -- \\\\" in words  # a bracket after the end of a row would be its option
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in words.splitlines() if line.endswith("\\\\"))


def test_csv_reads_back_with_every_word_and_digit(nasty):
    head, *lines = csv.reader(io.StringIO(nasty.csv()))
    assert head == [f"head {NASTY}", "value", "value std", "value low", "value high", "notes", "about"]
    assert lines[0] == [NASTY, "-12.345", "0.5", "", "", f"note {NASTY}", f"caption {NASTY}"]
    assert lines[1][1:5] == ["", "", "", ""]
    assert lines[2][:5] == ["two lines", "1.0", "", "-0.5", "2.0"]


class Reader(HTMLParser):
    """Cells by tag, and whether every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[tuple[str, dict[str, str | None], str]] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta",):
            self.open.append(tag)
        if tag in ("th", "td", "caption", "li", "i"):
            self.cells.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.cells and set(self.open) & {"th", "td", "caption", "li"}:
            tag, attrs, text = self.cells[-1]
            self.cells[-1] = (tag, attrs, text + data)


def test_html_is_whole_and_says_what_heads_what(nasty):
    text = page(nasty, title=f"A & B {NASTY}")
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert not any(tag == "i" for tag, *_ in reader.cells)
    scopes = [attrs.get("scope") for tag, attrs, _ in reader.cells if tag == "th"]
    assert scopes == ["col", "col", "row", "row", "row"]
    assert [text for tag, _, text in reader.cells if tag == "caption"] == [f"caption {NASTY}"]
    assert [text for tag, _, text in reader.cells if tag == "th"][2] == NASTY
    assert not re.search(r"(src|href|url)\b", text)  # needs no other file


def test_notes_are_lettered_in_reading_order_beyond_z():
    cells = tuple(Cell(value=1.0, notes=(f"n{i}",)) for i in range(28))
    made = Table(tuple(map(str, range(28))), (cells,), 0, "")
    assert list(made.notes.values())[-3:] == ["z", "aa", "ab"]
    assert made.plain()[0][27] == "1.0 [ab]"


def test_means_have_the_interval_of_the_image_auroc_beside_their_spread(row):
    rows = [row(shots=1, seed=seed, value=0.8 + seed / 100) for seed in range(3)]
    (cell,) = column(table(rows, metrics=["image_auroc"]), "image AUROC")
    assert cell.shown() == "81.0 \u00b1 1.0 (75.0 to 83.0)"
    assert "In brackets: 95 % interval over images" in table(rows).caption


def test_an_interval_is_never_shown_as_a_point():
    assert Cell(value=100, interval=(99.98, 100)).shown() == "100.0 (99.98 to 100.00)"
    assert Cell(value=100, interval=(99.9999, 100)).shown() == "100.0 (99.9999 to 100.0000)"
    assert Cell(value=50, interval=(40, 60)).shown() == "50.0 (40.0 to 60.0)"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=cmd|' /C calc'!A0"])
def test_text_in_a_csv_is_never_a_formula(row, text):
    made = table([row(text, status="failed", error=text), row("b")])
    cells = [cell for line in csv.reader(io.StringIO(made.csv())) for cell in line]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")]
    assert f"'{text.strip()}" in cells


def test_negative_numbers_in_a_csv_stay_numbers():
    made = Table(("a", "b"), ((Cell("x"), Cell(value=-1.5, signed=True)),), 1, "c")
    assert next(line for line in csv.reader(io.StringIO(made.csv())) if line[0] == "x")[1] == "-1.5"


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "html"])
def test_names_that_are_not_utf8_and_control_characters_survive_in_every_format(row, form):
    made = table([row("a\udcffb \x1b[31m", category="c\udc80"), row("b", category="c\udc80")])
    text = getattr(made, form)()
    text.encode("utf-8")
    assert "\x1b" not in text
    assert ("xff" in text) and "31m" in text
    assert page(made).encode("utf-8")


def test_backticks_and_html_stay_text_in_markdown(row):
    from markdown_it import MarkdownIt

    made = table([row("`<b>x</b>` <script>alert(1)</script> ``<i>``"), row("b")])
    shown = MarkdownIt("gfm-like", {"linkify": False}).render(made.markdown())
    assert "<script" not in shown and "<b>" not in shown and "<i>" not in shown and "<code" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def test_problems_of_the_data_are_notes_of_the_table(row):
    made = table([row("a", problems=["2 masks with shades of grey."]), row("b")])
    assert "bolt: 2 masks with shades of grey." in made.rows[0][0].notes

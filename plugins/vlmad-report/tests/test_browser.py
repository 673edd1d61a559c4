"""The page in headless Chromium: what a person does with it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vlmad_report.report import write_report

CHROMIUM = os.environ.get("VLMAD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: `apt-get install chromium`, or name one in VLMAD_CHROMIUM"
)
sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here: `pip install playwright`")

HOSTILE = '"><script>document.title="injected"</script><img src=x onerror=alert(1)>\n</script>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox, since Chromium refuses one to root, as in most containers; the pages are our own.
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Any]]:
    """Open a report; a request that leaves the disk, an error or a message of the console fails the test."""
    contexts, problems = [], []

    def watch(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            problems.append(f"request: {request.url}")

    def start(page: Path, *, context: Any = None, **options: Any) -> Any:
        if context is None:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(5000)
        tab.on("request", watch)
        tab.on("pageerror", lambda error: problems.append(f"error: {error}"))
        tab.on("console", lambda message: problems.append(f"console: {message.text}"))
        tab.goto(page.as_uri())
        tab.wait_for_selector(".cell")
        return tab

    yield start
    for context in contexts:
        context.close()
    assert not problems


def verdicts(tab: Any) -> dict[str, int]:
    chips = tab.locator(".chip:visible").all()
    return {chip.get_attribute("data-verdict"): int(chip.locator("b").inner_text()) for chip in chips}


def settle(tab: Any) -> None:
    """Until the next two frames are drawn."""
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_moving_the_threshold_labels_the_page_and_says_how_many_alarms(open_page, make_run):
    tab = open_page(write_report(make_run(20)).page)  # scores 0, 0.05 ... 0.95; 99 normals in [0, 0.5]
    assert verdicts(tab) == {"reject": 9, "review": 1, "pass": 10}
    assert "9 of 20 images rejected" in tab.inner_text("#alarms")
    assert "At most 0.01 of good images are rejected on average" in tab.inner_text("#promise")
    tab.fill("#threshold", "0.7")
    tab.press("#threshold", "Enter")
    settle(tab)
    assert verdicts(tab)["reject"] == 5  # 0.75 ... 0.95; 0.7 is at the threshold, not above it
    assert "5 of 20 images rejected (9 as recorded)" in tab.inner_text("#alarms")
    assert "0 of 99 normal images score higher" in tab.inner_text("#promise")
    tab.click("#reset")
    settle(tab)
    assert verdicts(tab) == {"reject": 9, "review": 1, "pass": 10}


def test_the_line_can_be_dragged_and_moved_by_keys(open_page, make_run):
    tab = open_page(write_report(make_run(20)).page)
    box = tab.locator("#plot").bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 2, box["y"] + 40, steps=5)
    tab.mouse.up()
    settle(tab)
    assert verdicts(tab) == {"reject": 20, "review": 0, "pass": 0}
    assert "nothing is promised" in tab.inner_text("#promise")
    before = float(tab.input_value("#threshold"))
    tab.focus("#slider")
    tab.keyboard.press("ArrowRight")
    settle(tab)
    assert float(tab.input_value("#threshold")) > before


def test_a_rate_sets_the_threshold_that_the_core_sets(open_page, make_run, calibration_record):
    import numpy as np

    tab = open_page(write_report(make_run(20)).page)
    label = tab.locator("#rate option", has_text="10\u00a0%").get_attribute("value")
    tab.select_option("#rate", label)
    settle(tab)
    expected = calibration_record(np.linspace(0, 0.5, 99).tolist(), false_alarms=0.1)["threshold"]
    assert float(tab.input_value("#threshold")) == pytest.approx(expected, rel=1e-7)
    assert verdicts(tab)["reject"] == sum(i / 20 > expected for i in range(20))


def test_without_a_calibration_nothing_is_promised_and_a_threshold_can_be_tried(open_page, make_run):
    tab = open_page(write_report(make_run(10, calibrated=False)).page)
    assert verdicts(tab) == {"uncalibrated": 10}
    assert "nothing is promised" in tab.inner_text("#promise")
    tab.fill("#threshold", "0.45")
    tab.press("#threshold", "Enter")
    settle(tab)
    assert verdicts(tab) == {"reject": 5, "uncalibrated": 0, "pass": 5}
    assert "nothing is promised" in tab.inner_text("#promise")


def test_filters_and_order(open_page, make_run):
    region = {"box": [30, 10, 44, 20], "area_px": 140, "area_share": 140 / 3072, "score": 1.0}
    tab = open_page(write_report(make_run(20, regions=[region])).page)
    names = lambda: tab.locator(".cell .name").all_inner_texts()  # noqa: E731
    assert names()[0] == "019.png"
    tab.click("#direction")
    settle(tab)
    assert names()[0] == "000.png"
    tab.click(".chip[data-verdict=reject]")
    settle(tab)
    assert names() == [f"{i:03}.png" for i in range(11, 20)]
    tab.select_option("#folder", label="a")
    settle(tab)
    assert names() == [f"{i:03}.png" for i in range(11, 20, 2)]
    tab.fill("#min-score", "0.8")
    settle(tab)
    assert names() == ["017.png", "019.png"]
    tab.fill("#min-region", "5")
    settle(tab)
    assert tab.is_visible("#empty")
    tab.click("#clear")
    settle(tab)
    tab.fill("#search", "B/002")
    settle(tab)
    assert names() == ["002.png"]


def test_a_whole_shift_by_keyboard_then_export_and_import(open_page, make_run, tmp_path):
    page = write_report(make_run(5)).page  # by score: 004, 003 rejected; the rest pass
    tab = open_page(page)
    tab.keyboard.press("Enter")
    assert tab.inner_text("#detail-name") == "004.png"
    tab.keyboard.press("c")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("f")
    tab.keyboard.press("t")
    tab.keyboard.type('only dust "fine"')
    tab.keyboard.press("Enter")
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#detail-name") == "002.png"
    tab.keyboard.press("m")
    tab.keyboard.press("t")
    tab.keyboard.press("Escape")
    assert tab.is_visible("#detail")  # it left the comment only
    tab.keyboard.press("Escape")
    settle(tab)
    assert not tab.is_visible("#detail")
    assert "Of 3 images that you decided: 1 false alarm, 1 missed" in tab.inner_text("#known")
    with tab.expect_download() as download:
        tab.click("#export")
    document = json.loads(Path(download.value.path()).read_bytes())
    assert (document["format"], document["version"]) == ("vlmad-feedback", 1)
    found = {Path(image["path"]).name: image for image in document["images"]}
    assert {name: (image["label"], image["judgement"], image["verdict"]) for name, image in found.items()} == {
        "004.png": ("defect", "confirmed", "reject"),
        "003.png": ("good", "false alarm", "reject"),
        "002.png": ("defect", "missed", "pass"),
    }
    assert found["003.png"]["comment"] == 'only dust "fine"'
    assert len(found["002.png"]["sha256"]) == 64
    again = open_page(page, context=tab.context)  # the same browser: kept
    assert again.inner_text("#export") == "Export feedback (3)"
    other = open_page(page)  # another browser: empty until the file is read
    assert other.inner_text("#export") == "Export feedback"
    kept = tmp_path / "feedback.json"
    kept.write_text(json.dumps(document))
    other.set_input_files("#import-file", kept)
    other.wait_for_selector("#message:has-text('3 images read')")
    assert other.inner_text("#export") == "Export feedback (3)"
    (tmp_path / "wrong.json").write_text("{}")
    other.set_input_files("#import-file", tmp_path / "wrong.json")
    other.wait_for_selector("#message:has-text('nothing was read')")


def test_going_on_after_a_decision_skips_no_image_whatever_the_filter(open_page, make_run):
    for wanted in ("", "none"):
        tab = open_page(write_report(make_run(5)).page)
        tab.select_option("#judged", wanted)
        settle(tab)
        tab.keyboard.press("Enter")
        tab.check("#goes-on")
        tab.keyboard.press("c")
        tab.wait_for_selector("#detail-name:has-text('003.png')")
        tab.wait_for_timeout(250)
        assert tab.inner_text("#detail-name") == "003.png"


def test_a_decision_does_not_change_its_meaning_when_the_threshold_moves(open_page, make_run):
    tab = open_page(write_report(make_run(6)).page)
    tab.keyboard.press("f")  # the highest score: a false alarm
    tab.fill("#threshold", "0.99")
    tab.press("#threshold", "Enter")
    settle(tab)
    assert "Of 1 image that you decided: 0 false alarms, 0 missed" in tab.inner_text("#known")


def test_details_show_heat_outlines_reasons_and_the_nearest_normal(open_page, make_run):
    region = {"box": [30, 10, 44, 20], "polygon": [[30, 10], [44, 10], [44, 20], [30, 20]], "area_px": 140}
    evidence = {
        "regions": [{**region, "area_share": 0.0456, "score": 1.0}],
        "reasons": ["a bright square", {"label": "memory", "value": 0.25}, {"label": "text", "value": -0.125}],
    }
    folder = make_run(2, **evidence)
    nearest = {
        "path": json.loads((folder / "results.jsonl").read_text().splitlines()[0])["path"],
        "box": [0, 0, 20, 20],
    }
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    (folder / "results.jsonl").write_text(
        "".join(json.dumps({**line, "nearest_normal": nearest}) + "\n" for line in lines)
    )
    tab = open_page(write_report(folder).page)
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#stage .heat")
    assert tab.locator("#stage .heat").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 64
    tab.locator("#opacity").fill("40")
    assert tab.locator("#stage .heat").evaluate("(image) => getComputedStyle(image).opacity") == "0.4"
    assert tab.locator("#stage .edge").get_attribute("d") == "M30 10L44 10L44 20L30 20Z"
    tab.keyboard.press("o")
    assert not tab.is_visible("#stage .outlines")
    assert tab.locator(".reasons li").all_inner_texts()[0] == "a bright square"
    assert "-0.125" in tab.inner_text(".reasons") and "+0.25" in tab.inner_text(".reasons")
    assert tab.locator(".pair img").count() == 2
    frame, svg = (tab.locator(f"#stage {part}").bounding_box() for part in (".frame", ".outlines"))
    assert frame == svg or tab.evaluate("!document.querySelector('#stage .outlines:not(.hidden)')")


def test_no_name_becomes_markup_in_the_browser(open_page, tmp_path, write_run):
    not_utf_8 = b"\xff.png".decode("utf-8", "surrogateescape")
    row = {"path": f"parts/{HOSTILE}.png", "score": 0.5, "reasons": [HOSTILE], "nearest_normal": {"path": HOSTILE}}
    rows = [row, {"path": f"{HOSTILE}/{not_utf_8}", "error": HOSTILE}]
    run = write_run(tmp_path / "run", rows, settings={"class_name": HOSTILE, HOSTILE: HOSTILE})
    tab = open_page(write_report(run).page)
    tab.click("#view-table")
    tab.keyboard.press("Enter")
    tab.keyboard.press("m")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Escape")
    settle(tab)
    assert "injected" not in tab.title() or tab.title().startswith('">')
    assert tab.locator("script:not([type])").count() == 1
    assert tab.locator("img[src=x]").count() == 0
    with tab.expect_download() as download:
        tab.click("#export")
    assert json.loads(Path(download.value.path()).read_bytes())["images"][0]["path"] == row["path"]


def test_one_file_shows_its_pictures_without_a_folder(open_page, make_run, tmp_path):
    report = write_report(make_run(2), tmp_path / "alone" / "one.html", embed=True)
    tab = open_page(report.page)
    width = "(image) => image.decode().then(() => image.naturalWidth)"
    assert tab.locator(".cell .photo").first.evaluate(width) == 64
    tab.keyboard.press("Enter")
    assert tab.locator("#stage .heat").evaluate(width) == 64


def test_where_the_browser_keeps_nothing_the_page_says_so_and_works_on(open_page, make_run, browser):
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden'); }});")
    tab = open_page(write_report(make_run(2)).page, context=context)
    assert tab.is_visible("#kept")
    tab.keyboard.press("f")
    settle(tab)
    assert tab.inner_text("#export") == "Export feedback (1)"
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(open_page, make_run, width, scheme):
    tab = open_page(write_report(make_run(4)).page, viewport={"width": width, "height": 800}, color_scheme=scheme)
    if width == 390:
        tab.click("#more > summary")  # filters are folded away on a phone
    for selector in ("#view-table", "#view-grid"):
        tab.click(selector)
        settle(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 384) == (scheme == "light")
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != paper


def test_the_list_is_printed_with_its_pictures(open_page, make_run, tmp_path):
    tab = open_page(write_report(make_run(6)).page)
    tab.click(".chip[data-verdict=reject]")
    settle(tab)
    printed = tab.evaluate(
        "new Promise((done) => {"
        "  const photos = document.querySelector('#print').getElementsByClassName('photo');"
        "  window.print = () => done([...photos].map((each) => each.complete));"
        "  document.getElementById('print-button').click();"
        "})"
    )
    assert printed == [True, True]


def many(folder: Path, n: int, write_run: Callable[..., Path], calibration: dict[str, Any]) -> Path:
    rows = [{"path": f"parts/{i % 7}/{i:05}.png", "score": (i * 7919 % n) / n, "error": None} for i in range(n)]
    for row in rows:
        row["verdict"] = "reject" if row["score"] > calibration["threshold"] else "pass"
    return write_report(write_run(folder, rows, calibration={**calibration, "review_threshold": None})).page


def test_of_5000_images_only_those_on_the_screen_are_in_the_document(
    open_page, tmp_path, write_run, calibration_record
):
    record = calibration_record([i / 400 for i in range(199)], false_alarms=0.05)
    tab = open_page(many(tmp_path / "run", 5000, write_run, record))
    assert tab.locator(".cell").count() < 100
    tab.evaluate("window.scrollTo(0, document.body.scrollHeight / 2)")
    settle(tab)
    assert 4 < tab.locator(".cell").count() < 100
    tab.evaluate("window.scrollTo(0, 0)")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#position") == "1 of 5000"


@pytest.mark.slow
def test_5000_images_without_a_task_above_200_ms(open_page, browser, tmp_path, write_run, calibration_record):
    record = calibration_record([i / 400 for i in range(199)], false_alarms=0.05)
    tab = open_page(many(tmp_path / "run", 5000, write_run, record))
    browser.start_tracing(page=tab, categories=["toplevel", "disabled-by-default-devtools.timeline", "__metadata"])
    tab.reload()
    tab.wait_for_selector(".cell")
    for i in range(20):
        tab.evaluate(f"window.scrollTo(0, {i * 4000})")
        settle(tab)
    tab.evaluate("window.scrollTo(0, 0)")
    box = tab.locator("#plot").bounding_box()
    tab.mouse.move(box["x"] + 300, box["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 700, box["y"] + 40, steps=30)
    tab.mouse.up()
    for selector in ("#direction", "#view-table", ".chip[data-verdict=reject]", "#direction"):
        tab.click(selector)
        settle(tab)
    tab.fill("#search", "0012")
    settle(tab)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    names = [each for each in events if each.get("name") == "thread_name"]
    main = {(each["pid"], each["tid"]) for each in names if each["args"]["name"] == "CrRendererMain"}
    tasks = [each for each in events if each["name"].endswith("RunTask") and (each["pid"], each["tid"]) in main]
    # Time of the processor, not of the clock: another program on this machine is not what is measured.
    assert len(tasks) > 100
    assert max(each.get("tdur", 0) for each in tasks) < 200_000

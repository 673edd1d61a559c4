"""The page in headless Chromium: what a person does with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

CHROMIUM = os.environ.get("VLMAD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: `apt-get install chromium`, or name one in VLMAD_CHROMIUM"
)
sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here: `pip install playwright`")

sync_api.expect.set_options(timeout=20_000)
expect = sync_api.expect

HOSTILE = '"><img src=x onerror=alert(1)>.png'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox, since Chromium refuses one to root, as in most containers; the pages are our own. The
        # camera is a film that Chromium makes up.
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=options + camera)
        yield started
        started.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Any]]:
    """Open the page of a server; a request to another host, an error or a message of the console fails the test."""
    contexts, problems = [], []

    def start(base: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        local = (base, "blob:", "data:")
        tab.on("request", lambda sent: None if sent.url.startswith(local) else problems.append(sent.url))
        tab.on("pageerror", lambda error: problems.append(f"error: {error}"))
        tab.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
        tab.goto(base)
        return tab

    yield start
    for context in contexts:
        context.close()
    assert not problems


def file(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def test_a_newcomer_enrols_inspects_corrects_and_sets_a_threshold(live, open_page, picture):
    base = live()
    tab = open_page(base)
    tab.wait_for_selector("#enrol:not([hidden])")  # nothing is there yet, so the page begins with it
    tab.fill("#enrol-name", "Metal Nut")
    tab.fill("#person", "Ada")
    tab.set_input_files("#enrol-files", [file(f"{i}.png", picture(i)) for i in range(10)])
    assert "5\u00a0% needs 9 more" in tab.inner_text("#enrol-count")
    tab.click("#enrol-start")
    tab.wait_for_selector("#inspect:not([hidden])")
    assert tab.input_value("#product") == "metal-nut"

    tab.set_input_files("#files", [file("good.png", picture(4)), file(HOSTILE, picture(5, spot=True))])
    tab.wait_for_selector("#inspect-state[data-done]")
    assert tab.inner_text("#inspect-state") == "1 pass, 1 reject"
    assert tab.inner_text("#result .verdict").split()[-1] == "reject"
    assert tab.locator("#stage .heat").evaluate("image => image.naturalWidth") > 0
    assert tab.locator("#stage .outlines path").count() >= 2
    tab.wait_for_selector("#result .reasons li")  # the evidence

    tab.keyboard.press("f")  # a false alarm: it joins memory and calibration
    expect(tab.locator("#message")).to_contain_text("Version 2 is in use: 11 normal")
    tab.set_input_files("#files", [file("again.png", picture(5, spot=True))])
    expect(tab.locator("#result .verdict")).to_have_attribute("data-verdict", "pass")

    tab.click("[data-tab=threshold]")
    assert "1\u00a0% needs 88 more normal images" in tab.inner_text("#needed")
    tab.fill("#why", "too few found")
    tab.focus("#slider")
    before = tab.inner_text("#at-threshold")
    tab.keyboard.press("ArrowLeft")
    assert tab.inner_text("#at-threshold") != before
    tab.click("#use-threshold")
    expect(tab.locator("#message")).to_contain_text("The threshold is in use")

    tab.click("[data-tab=history]")
    tab.wait_for_selector("#cards .card")
    assert tab.locator("#cards .card").count() == 3
    tab.select_option("#f-label", "good")
    expect(tab.locator("#cards .card")).to_have_count(1)
    tab.click("#cards .card")
    tab.wait_for_selector("#detail[open] #detail-stage img")
    assert tab.title() == "vlmad serve"  # the name of the file did not run
    tab.click("#detail-close")

    tab.click("[data-tab=monitor]")
    tab.wait_for_selector("#audit td")
    log = tab.inner_text("#audit")
    assert "too few found" in log and "Ada" in log and log.index("threshold") < log.index("feedback")
    audit = httpx.get(f"{base}/v1/audit").json()
    assert [entry["action"] for entry in audit] == ["threshold", "feedback", "enrol"]


def test_the_camera_inspects_and_a_pause_keeps_the_image(live, open_page, enrol, picture):
    base = live()
    with httpx.Client(base_url=base, timeout=60) as client:
        enrol(client, 6)
    tab = open_page(base, viewport={"width": 390, "height": 800}, color_scheme="dark")
    tab.click("#camera-start")
    tab.click("#camera-pause")  # go on
    tab.wait_for_selector("#strip .card:nth-child(2)")
    tab.click("#camera-pause")
    tab.wait_for_timeout(600)
    shown = tab.get_attribute("#result", "data-result")
    tab.wait_for_timeout(600)
    assert tab.get_attribute("#result", "data-result") == shown
    assert tab.locator("#stage .photo, #stage img").first.get_attribute("src").startswith(f"/v1/results/{shown}/")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390  # a phone scrolls in one direction


def test_a_server_with_a_key_asks_for_it_once(live, open_page, browser):
    base = live(api_key="correct horse battery")
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(base)
    tab.wait_for_selector("#key-dialog[open]")
    tab.fill("#key", "correct horse battery")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#enrol:not([hidden])")
    tab.reload()
    tab.wait_for_selector("#enrol:not([hidden])")
    assert not tab.is_visible("#key-dialog")
    context.close()

"""The way of a newcomer, timed: serve, enrol ten photos in the browser, inspect the rest; with screenshots.

``python newcomer.py GOOD_FOLDER OTHER_FOLDER... --shots FOLDER``: the first ten images of the first folder are
enrolled, all others are inspected. Prints one JSON object; needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

TABS = ("inspect", "enrol", "threshold", "history", "monitor")
SIZES = {"light": (1440, 900), "dark": (1440, 900), "phone": (390, 844)}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path)
    asked = parser.parse_args()
    images = [sorted(path for path in folder.iterdir() if path.is_file()) for folder in asked.folders]
    enrolled, rest = images[0][:10], [*images[0][10:], *(path for folder in images[1:] for path in folder)]
    chromium = os.environ.get("VLMAD_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        started = time.perf_counter()
        command = [sys.executable, "-m", "vlmad_core.cli", "serve", "--data", f"{folder}/data", "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        address = server.stdout.readline().split()[1]
        served = time.perf_counter() - started
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.set_default_timeout(120_000)
        tab.goto(address)
        tab.fill("#enrol-name", "cookie")
        tab.set_input_files("#enrol-files", enrolled)
        tab.click("#enrol-start")
        tab.wait_for_selector("#inspect:not([hidden]), #enrol-without")
        stands_out = tab.is_visible("#enrol-without")
        if stands_out:
            tab.click("#enrol-without")
            tab.wait_for_selector("#inspect:not([hidden])")
        enrolled_at = time.perf_counter() - started
        tab.set_input_files("#files", rest)
        tab.wait_for_selector("#inspect-state[data-done]")
        seconds = time.perf_counter() - started
        verdicts = tab.inner_text("#inspect-state")
        for name, (width, height) in SIZES.items() if asked.shots else ():
            asked.shots.mkdir(parents=True, exist_ok=True)
            scheme = "dark" if name == "dark" else "light"
            page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
            page.goto(address)
            page.set_input_files("#files", rest[-2:])
            page.wait_for_selector("#inspect-state[data-done]")
            page.wait_for_selector("#result .reasons li")
            for each in TABS:
                page.click(f"[data-tab={each}]")
                page.wait_for_timeout(800)
                page.screenshot(path=asked.shots / f"{each}-{name}.png")
        browser.close()
        server.terminate()
        server.wait(60)
    times = {"served": served, "enrolled": enrolled_at, "inspected": seconds}
    record = {
        "images": len(rest),
        "verdicts": verdicts,
        "a_photo_stood_out": stands_out,
        "seconds": {name: round(value, 1) for name, value in times.items()},
        "load_average": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()

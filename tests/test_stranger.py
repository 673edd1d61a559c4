"""A stranger follows the tutorial to the letter: wheels alone, an empty environment, every command as the page has it.

The pictures are those of ``VLMAD_DATA``, a folder in the layout of ``make accuracy DATA=...``, if it has the cookies;
otherwise small ones are made in their place, and what the page says of scores is not compared.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "plugins" / "tutorial.md"
PLUGIN = ROOT / "plugins" / "vlmad-foreground"
WHEELS = (".", "plugins/vlmad-compositional", "plugins/vlmad-pocket")
LEFT_OUT = "…"

BLOCK = re.compile(r"(?:^`(?P<file>[^`\n]+)`:\n\n)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """A file to write, or commands to run with what they say."""

    file: str | None
    body: str
    said: str | None = None


def steps() -> list[Step]:
    """All of the page, in its order."""
    found: list[Step] = []
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["language"] == "text":
            assert found[-1].file is None, f"{block['body']!r} comes after no command"
            assert found[-1].said is None, f"{block['body']!r} comes after what was said already"
            found[-1].said = block["body"]
        else:
            assert (block["file"] is None) == (block["language"] == "sh"), f"a file without a name: {block['body']!r}"
            found.append(Step(block["file"], block["body"]))
    return found


def written(name: str) -> str:
    """A file of the page; one that comes in pieces has two empty lines between them."""
    return "\n\n".join(step.body for step in steps() if step.file == name)


@pytest.mark.parametrize(
    "name", ["vlmad_foreground/extractor.py", "vlmad_foreground/plugin.py", "tests/test_foreground.py"]
)
def test_the_page_writes_the_plugin_that_is_here(name):
    assert written(name) == (PLUGIN / name).read_text(encoding="utf-8")


def test_what_the_page_says_is_compared():
    """The comparison tells what was said from what was not."""
    said = "name  score\n…\n3 images, in 1.5 s\n"
    assert differs(said, "name score\na 0.3\nb 0.4\n3 images, in 17 s\nbye\n") is None
    assert differs(said, "name score\n4 images judged\n") == "3 images, in 1.5 s"
    assert differs(said, "3 images, in 1.5 s\nname score\n") == "3 images, in 1.5 s"
    assert differs("2 passed in …\n", "4 passed in 70.5s (0:01:10)\n") is None
    assert differs("2 passed in …\n", "4 failed in 70.5s\n") == "2 passed in …"


def differs(said: str, heard: str) -> str | None:
    """The first line of the page that the terminal did not say, in this order; any number stands for any other."""
    lines = iter(heard.splitlines())
    for line in said.splitlines():
        if line.strip() != LEFT_OUT:
            words = (re.sub(r"\d+(?:\\\.\d+)*", r"\\d+(?:\\.\\d+)*", re.escape(word)) for word in line.split())
            pattern = re.compile(r"\s*" + r"\s+".join(words).replace(LEFT_OUT, ".*") + r"\s*")
            if not any(pattern.fullmatch(other) for other in lines):
                return line
    return None


class Stranger:
    """A shell that remembers where it is, with nothing of this environment but the wheels.

    Args:
        home: An empty folder.
        wheels: Where pip finds them.
    """

    def __init__(self, home: Path, wheels: Path) -> None:
        self.state, self.work = home / "state", home / "work"
        alone = home / "bin"
        self.work.mkdir(parents=True)
        alone.mkdir()
        (alone / "python").symlink_to(getattr(sys, "_base_executable", sys.executable))
        kept = ("HOME", "LANG", "OMP_NUM_THREADS", "PIP_", "HTTP", "http", "SSL_", "REQUESTS_", "TMPDIR")
        ask = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
        known = subprocess.run(ask, capture_output=True, text=True, check=False)
        self.environment = {name: value for name, value in os.environ.items() if name.startswith(kept)}
        self.environment |= {
            "PATH": f"{alone}:/usr/bin:/bin",
            "COLUMNS": "110",
            "PIP_CONSTRAINT": str(ROOT / ".ci" / "constraints.txt"),
            "PIP_FIND_LINKS": f"{wheels} {' '.join(known.stdout.split())}",
        }
        self.state.write_text(f"cd {shlex.quote(str(self.work))}\n")

    @property
    def here(self) -> Path:
        """The folder that the shell is in."""
        return Path(self.run("pwd").strip())

    def run(self, commands: str) -> str:
        """What a few commands say; they stop at the first that fails."""
        state = shlex.quote(str(self.state))
        script = f'. {state}\nset -e\n{commands}\nset +e\n{{ export -p; echo cd $(printf %q "$PWD"); }} > {state}\n'
        together = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(["bash", "-c", script], **together, env=self.environment, check=False)
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        return done.stdout

    def write(self, name: str, text: str, *, more: bool) -> None:
        """A file, or a further piece of it."""
        file = self.here / name
        before = file.read_text(encoding="utf-8") + "\n\n" if more else ""
        file.write_text(before + text, encoding="utf-8")


def make_pictures(folder: Path) -> None:
    """Discs on a table in the place of the cookies, some with a gap."""
    row, column = np.mgrid[:96, :128] - np.array([48, 64])[:, None, None]
    for part, count in (("train/good", 4), ("test/good", 3), ("test/defect", 4)):
        (folder / part).mkdir(parents=True)
        for i in range(count):
            draw = np.random.default_rng([count, i, len(part)])
            image = draw.normal(40, 6, (96, 128, 3))
            disc = row**2 + column**2 < 30**2
            if part == "test/defect":
                disc &= abs(column - 3 * i) > 5
            image[disc] = draw.normal((200, 160, 90), 20, (int(disc.sum()), 3))
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / part / f"{i:03d}.jpg")


@pytest.mark.slow
def test_a_stranger_ships_the_plugin_of_the_tutorial(tmp_path, capsys):
    wheels, times = tmp_path / "wheels", []
    cookies = Path(os.environ.get("VLMAD_DATA", "")) / "cookies" / "cookie"
    real = "VLMAD_DATA" in os.environ and cookies.is_dir()

    started = time.perf_counter()
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(wheels), *(str(ROOT / folder) for folder in WHEELS)], check=True)
    times.append((time.perf_counter() - started, "(wheels of vlmad)"))

    stranger, begun, heard = Stranger(tmp_path, wheels), set(), {}
    for step in steps():
        if step.file is not None:
            stranger.write(step.file, step.body, more=step.file in begun)
            begun.add(step.file)
            continue
        if "cookies/" in step.body and not (stranger.here / "cookies").exists():
            if real:
                (stranger.here / "cookies").symlink_to(cookies)
            else:
                make_pictures(stranger.here / "cookies")
        started = time.perf_counter()
        said = heard[step.body] = stranger.run(step.body)
        times.append((time.perf_counter() - started, step.body.strip().splitlines()[-1]))
        drawn = "look.py" in step.body  # a heat map of signs, which rounding may move
        depends = "cookies/" in step.body or "compare.py" in step.body
        if step.said is not None and not drawn and (real or not depends):
            line = differs(step.said, said)
            assert line is None, f"{step.body}\nThe page has the line\n{line}\nand the terminal said\n{said}"

    folder = stranger.here
    assert folder == stranger.work / "vlmad-foreground"
    checked = [said for commands, said in heard.items() if commands.endswith("vlmad check vlmad-foreground\n")]
    assert len(checked) == 3
    assert all("none broken" in said for said in checked)
    assert "vlmad-foreground" in stranger.run("vlmad list extractor")
    for results in ("mix", "cookies"):
        with (folder / "results" / results / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(list(folder.glob("cookies/test/*/*")))
        assert all(row["error"] == "" and 0 <= float(row["score"]) <= 1 for row in rows)
        assert len(list((folder / "results" / results / "overlays").iterdir())) >= len(rows)
    drawn = [line.split(" | ") for line in heard["python look.py cookies/test/defect/003.jpg\n"].splitlines()]
    assert [len(half) for line in drawn for half in line] == 40 * [30]
    assert not real or (len(set(drawn[0][0])) > 1 == len(set(drawn[0][1])))  # the table, without and with the mask
    areas = [float(area) for area in re.findall(r"AUROC (\S+)", heard["python compare.py\n"])]
    assert len(areas) == 2
    assert not real or areas[1] > areas[0] > 0.9
    home = stranger.run("python -P -c 'import vlmad_foreground; print(vlmad_foreground.__file__)'")
    assert home.startswith(str(stranger.work / ".venv"))  # the wheel, not the folder
    with capsys.disabled():
        print()
        for seconds, name in times:
            print(f"{seconds:7.1f} s  {name}")
        print(f"{sum(seconds for seconds, _ in times):7.1f} s  in all")


def test_every_file_of_the_page_is_used():
    """A file that no command reads is a slip of the pen."""
    commands = "\n".join(step.body for step in steps() if step.file is None)
    package = ("vlmad_foreground/", "tests/", "README.md")
    assert [s.file for s in steps() if s.file and not s.file.startswith(package) and s.file not in commands] == []

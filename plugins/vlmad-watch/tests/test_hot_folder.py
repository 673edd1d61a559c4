"""A hot folder: every content has exactly one verdict, and every file is dealt with once, whatever happens."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.errors import ConfigError
from vlmad_watch.actions import NOTE, Move, mark
from vlmad_watch.arrival import Arrivals, is_open_for_writing, scan
from vlmad_watch.hot_folder import FolderOptions, watch_folder
from vlmad_watch.journal import Entry, FileRow, Journal, Scored

SUFFIXES = frozenset({".png"})
FAST = FolderOptions(settle=0.0, give_up=0.0, poll=0.01, batch_size=4, idle=0.0)
WATCHER = Path(__file__).with_name("watcher.py")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def score(paths: Sequence[Path]) -> list[Scored]:
    """Cheap, and strict as a decoder: the mean of the pixels; a file that is cut short is an error."""
    found = []
    for path in paths:
        digest = sha256(path)
        try:
            with Image.open(path) as image:
                value = float(np.asarray(image.convert("L")).mean())
        except (OSError, SyntaxError):
            found.append(Scored(digest, "error"))
            continue
        found.append(Scored(digest, "reject" if value > 128 else "pass", value))
    return found


def write_images(folder: Path, count: int, seed: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = [folder / f"{i:04}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return paths


def watch(tmp_path: Path, **more: object) -> tuple[dict[str, int], list[FileRow]]:
    message: list[FileRow] = []
    given = {"suffixes": SUFFIXES, "options": FAST, "tell": message.append, **more}
    counts = watch_folder(tmp_path / "in", tmp_path / "state", score, **given)  # type: ignore[arg-type]
    return counts, message


def test_each_file_is_scored_once_and_a_second_look_finds_nothing(tmp_path: Path):
    write_images(tmp_path / "in" / "line", 9)
    counts, message = watch(tmp_path)
    assert sum(counts.values()) == len(message) == 9
    again, message = watch(tmp_path)
    assert again == counts and message == []


def test_a_file_counts_as_whole_when_it_has_not_changed_for_a_while():
    arrivals, path = Arrivals(settle=2), Path("a.png")
    assert arrivals.update({path: (10, 1)}, 0) == []
    assert arrivals.update({path: (20, 2)}, 1.5) == []  # it grows: the clock starts again
    assert arrivals.update({path: (20, 2)}, 3) == []
    assert arrivals.update({path: (20, 2)}, 3.5) == [path]
    assert arrivals.update({Path("empty.png"): (0, 1)}, 9) == arrivals.update({Path("empty.png"): (0, 1)}, 19) == []


def test_hidden_files_other_endings_and_left_out_folders_are_passed_over(tmp_path: Path):
    for name in ("a.png", "B.PNG", ".part.png", "c.txt", "d.png.tmp", "sub/e.png", "done/f.png", ".state/g.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = scan(tmp_path, SUFFIXES, [tmp_path / "done"])
    assert {path.name for path in found} == {"a.png", "B.PNG", "e.png"}


def test_a_half_written_file_waits_and_is_an_error_only_if_it_stays_half(tmp_path: Path):
    (path,) = write_images(tmp_path / "in", 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    patient = FolderOptions(settle=0.0, give_up=60, poll=0.01, idle=None)
    looks = iter(range(100))

    def is_stopped() -> bool:
        number = next(looks)
        if number == 10:
            path.write_bytes(whole)
        return number > 30

    counts, message = watch(tmp_path, options=patient, is_stopped=is_stopped)
    assert [row.scored.sha256 for row in message] == [sha256(path)] and "error" not in counts
    path.write_bytes(whole[:-30])
    counts, message = watch(tmp_path)
    assert [row.scored.verdict for row in message] == ["error"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a file open")
def test_a_file_that_is_open_for_writing_waits_however_long_the_writer_pauses(tmp_path: Path):
    (path,) = write_images(tmp_path / "in", 1)
    whole = path.read_bytes()
    with path.open("wb") as file:
        file.write(whole[:-12])  # all but the end mark, which a decoder does not miss
        file.flush()
        assert score([path])[0].verdict != "error" and is_open_for_writing(path)
        looks = iter(range(10))
        _, message = watch(tmp_path, is_stopped=lambda: next(looks, 9) == 9)
        assert message == []
        file.write(whole[-12:])
    assert not is_open_for_writing(path)
    _, message = watch(tmp_path)
    assert [row.scored.sha256 for row in message] == [hashlib.sha256(whole).hexdigest()]


def test_files_are_moved_by_verdict_and_no_name_replaces_another(tmp_path: Path):
    one, two = (write_images(tmp_path / "in" / name, 1, seed)[0] for seed, name in enumerate(("a", "b")))
    (three,) = write_images(tmp_path / "in" / "c", 1, 0)  # the content of the first
    contents = sorted(map(sha256, (one, two, three)))
    _, message = watch(tmp_path, action=Move(tmp_path / "done"))
    moved = list((tmp_path / "done").rglob("*.png"))
    assert sorted(map(sha256, moved)) == contents and len(message) == 3
    assert all(path.parent.name in ("pass", "reject") for path in moved)
    assert not list((tmp_path / "in").rglob("*.png"))


def test_a_copy_of_a_content_has_its_verdict_and_is_not_scored_again(tmp_path: Path):
    (path,) = write_images(tmp_path / "in", 1)
    (tmp_path / "in" / "copy.png").write_bytes(path.read_bytes())
    scored: list[Path] = []

    def counting(paths: Sequence[Path]) -> list[Scored]:
        scored.extend(paths)
        return score(paths)

    counts = watch_folder(tmp_path / "in", tmp_path / "state", counting, suffixes=SUFFIXES, options=FAST)
    assert len(scored) == 1 and sum(counts.values()) == 1


def test_a_name_that_gets_new_content_is_scored_again(tmp_path: Path):
    (path,) = write_images(tmp_path / "in", 1, 0)
    watch(tmp_path)
    write_images(tmp_path / "in", 1, 1)
    counts, message = watch(tmp_path)
    assert [row.scored.sha256 for row in message] == [sha256(path)] and sum(counts.values()) == 2


def test_a_note_beside_the_file_has_the_verdict(tmp_path: Path):
    (path,) = write_images(tmp_path / "in", 1)
    watch(tmp_path, action=mark)
    import json

    note = json.loads(path.with_name(path.name + NOTE).read_text())
    assert note["verdict"] in ("pass", "reject") and note["sha256"] == sha256(path)


def test_what_was_written_down_before_a_stop_is_finished_after_it(tmp_path: Path):
    (path, other) = write_images(tmp_path / "in", 2)
    (tmp_path / "state").mkdir()
    with Journal(tmp_path / "state" / "journal.sqlite") as journal:
        for one in (path, other):
            stat = one.stat()
            journal.add([Entry(one, stat.st_size, stat.st_mtime_ns, score([one])[0])])
        first, _ = journal.unfinished()
    moved = Move(tmp_path / "done")(first)  # the stop came between the move and its note
    _, message = watch(tmp_path, action=Move(tmp_path / "done"))
    with Journal(tmp_path / "state" / "journal.sqlite") as journal:
        rows = list(journal.rows())
    assert len(message) == 2 and all(row.is_done for row in rows) and rows[0].target == moved
    assert len(list((tmp_path / "done").rglob("*.png"))) == 2


def test_a_folder_is_watched_by_one_process_and_a_journal_belongs_to_one_detector(tmp_path: Path):
    write_images(tmp_path / "in", 1)
    watch(tmp_path, about="detector 1")
    with pytest.raises(ConfigError, match="of another detector"):
        watch(tmp_path, about="detector 2")
    (tmp_path / "state" / "journal.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="is not a journal that can be used"):
        watch(tmp_path, about="detector 1")
    from vlmad_core.files import LockedFolder

    with LockedFolder(tmp_path / "state"), pytest.raises(ConfigError, match="another run is writing here"):
        watch(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder that can be watched"):
        watch_folder(tmp_path / "none", tmp_path / "state", score, suffixes=SUFFIXES)


def test_numbers_that_cannot_work_are_refused():
    for wrong in ({"settle": -1}, {"poll": 0}, {"batch_size": 0}, {"settle": 5, "give_up": 1}):
        with pytest.raises(ConfigError, match="must be at least 0"):
            FolderOptions(**wrong)  # type: ignore[arg-type]


# -- kill -9


class Line:
    """Drops files at random moments, half of them written slowly, while the watcher is killed and started again."""

    def __init__(self, tmp_path: Path, count: int, seed: int, pace: float) -> None:
        self.folder, self.done, self.state = (tmp_path / name for name in ("in", "done", "state"))
        self.folder.mkdir()
        self.contents = {}
        for path in write_images(tmp_path / "source", count, seed):
            self.contents[path.name] = path.read_bytes()
        self._random, self._pace = random.Random(seed), pace
        self.is_written = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Line:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _write(self) -> None:
        slow: list[threading.Thread] = []
        for number, (name, content) in enumerate(self.contents.items()):
            time.sleep(self._random.random() * 2 * self._pace)
            if number % 2:
                thread = threading.Thread(target=self._slowly, args=(name, content))
                thread.start()
                slow.append(thread)
            elif number % 4:
                (self.folder / f".{name}.tmp").write_bytes(content)
                (self.folder / f".{name}.tmp").rename(self.folder / name)
            else:
                (self.folder / name).write_bytes(content)
        for thread in slow:
            thread.join()
        self.is_written.set()

    def _slowly(self, name: str, content: bytes) -> None:
        with (self.folder / name).open("wb") as file:
            for start in range(0, len(content), 64):
                file.write(content[start : start + 64])
                file.flush()
                time.sleep(0.05)

    def start(self) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, str(WATCHER), *map(str, (self.folder, self.state, self.done))]
        return subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the watcher does not go on"
            time.sleep(0.02)


def killed_and_started_again(tmp_path: Path, count: int, kills: int, pace: float) -> None:
    with Line(tmp_path, count, seed=0, pace=pace) as line:
        for number in range(kills):
            child = line.start()
            target = (number + 1) * count // (kills + 1)
            line.wait_for(lambda target=target: len(list(line.done.rglob("*.png"))) >= target, 120)
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
        line.is_written.wait(120)
        child = line.start()
        assert child.wait(120) == 0
    expected = sorted(hashlib.sha256(content).hexdigest() for content in line.contents.values())
    moved = sorted(line.done.rglob("*.png"))
    assert sorted(map(sha256, moved)) == expected
    assert not list(line.folder.rglob("*"))
    with Journal(line.state / "journal.sqlite") as journal:
        rows = list(journal.rows())
        assert sum(journal.counts().values()) == count
    assert sorted(row.scored.sha256 for row in rows) == expected and all(row.is_done for row in rows)
    assert sorted(str(row.target) for row in rows) == [str(path) for path in moved]
    verdicts = {row.scored.sha256: row.scored.verdict for row in rows}
    assert set(verdicts.values()) == {"pass", "reject"}
    assert all(verdicts[sha256(path)] == path.parent.name for path in moved)


def test_files_that_arrive_while_the_watcher_is_killed_have_one_verdict_each(tmp_path: Path):
    killed_and_started_again(tmp_path, count=60, kills=2, pace=0.005)


@pytest.mark.slow
def test_2000_files_and_ten_kills(tmp_path: Path):
    killed_and_started_again(tmp_path, count=2000, kills=10, pace=0.02)

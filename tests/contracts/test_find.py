"""What a search for images finds, and that whatever it passes over is counted and named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image

from vlmad_core.contracts import find_images, open_image
from vlmad_core.contracts.decode import FORMATS
from vlmad_core.contracts.find import SUFFIXES, search
from vlmad_core.errors import ImageError
from vlmad_core.files import mark_written


@pytest.fixture
def line(tmp_path: Path) -> Path:
    for name in ("line/own.png", "store/a/0.png", "store/a/1.png"):
        paint(tmp_path / name)
    return tmp_path / "line"


def paint(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), "teal").save(path, **options)
    return path


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in search(root).images]


def test_endings_are_those_of_the_formats_that_are_opened() -> None:
    Image.init()
    known = {ending for ending, name in Image.registered_extensions().items() if name in FORMATS}
    assert known | {".dcm", ".dicom"} == SUFFIXES


@pytest.mark.parametrize("name", ["a.JFIF", "a.jpe", "a.Avif", "a.tga", "a.MPO", "a.webp", "a.TIF", "a.bmp", "a.pbm"])
def test_every_ending_is_found_in_any_case_and_can_be_opened(tmp_path: Path, name: str) -> None:
    kinds = {".jfif": "JPEG", ".jpe": "JPEG", ".mpo": "MPO", ".pbm": "PPM"}
    path = paint(tmp_path / name, format=kinds.get(Path(name).suffix.lower()))
    assert search(tmp_path).images == (path,)
    assert open_image(path).size == (8, 6)


def test_links_to_folders_are_followed(line: Path) -> None:
    (line / "camera").symlink_to(line.parent / "store/a")
    assert names(line) == ["camera/0.png", "camera/1.png", "own.png"]


def test_two_links_to_one_folder_give_each_image_once(line: Path) -> None:
    for name in ("one", "two"):
        (line / name).symlink_to(line.parent / "store/a")
    assert names(line) == ["one/0.png", "one/1.png", "own.png"]


@pytest.mark.parametrize("target", ["..", ".", "../..", "sub"])
def test_link_in_a_circle_gives_each_image_once(line: Path, target: str) -> None:
    paint(line / "sub/x.png")
    (line / "sub/back").symlink_to(target)
    assert [name for name in names(line) if "store" not in name] == ["own.png", "sub/x.png"]
    found = search(f"{line}/**/*.png").images
    assert sorted(path.name for path in found if "store" not in path.parts) == ["own.png", "x.png"]


def test_real_folder_comes_before_a_link_to_it(line: Path) -> None:
    paint(line / "z/1.png")
    (line / "a").symlink_to(line / "z")
    assert names(line) == ["own.png", "z/1.png"]


def test_what_is_passed_over_is_counted_and_named(line: Path) -> None:
    for name in ("photo.heic", "scan", "raw.CR2", "more.heic"):
        (line / name).write_bytes(b"\0" * 20)
    (line / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(line / "pipe.png")
    paint(line / ".hidden/1.png")
    paint(line / ".mine.png")
    found = search(line)
    assert [path.name for path in found.images] == ["own.png"]
    assert "4 x file with an unknown ending (" in found.message
    assert f"{line / 'photo.heic'}" in found.message
    assert f"1 x broken link ({line / 'gone.png'})" in found.message
    assert f"1 x pipe ({line / 'pipe.png'})" in found.message
    assert f"1 x hidden folder ({line / '.hidden'})" in found.message
    assert f"1 x hidden file ({line / '.mine.png'})" in found.message
    with pytest.warns(UserWarning, match="passed over: "):
        assert find_images(line) == [line / "own.png"]


def test_companions_of_images_are_passed_over_without_a_word(line: Path) -> None:
    for name in ("notes.txt", "labels.CSV", "Thumbs.db", "._own.png", "own.json", "desktop.ini", ".DS_Store"):
        (line / name).write_bytes(b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(find_images(line)) == 1


def test_socket_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("s.png")
        assert "1 x socket (s.png)" in search(".").message


def test_folder_that_may_not_be_read_is_named(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(line / "closed/a.png")
    real = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert search(line).message == f"passed over: 1 x folder that may not be read ({line / 'closed'})."


def test_folder_of_nothing_but_unknown_files_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(ImageError, match=r"no image in this folder .* Passed over: 1 x file with an unknown ending"):
        find_images(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device", "link"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("x.png")
    code = "import sys; from vlmad_core.contracts import open_image; open_image(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert f"{path}: is a {kind}, not a file" in done.stderr or "damaged" in done.stderr or "no such" in done.stderr


def test_what_vlmad_wrote_is_never_found(line: Path) -> None:
    for name in ("first/maps/own-1.png", "first/overlays/own-1.jpg", "first/sheet.jpg", "first/mine.png"):
        paint(line / name)
    mark_written(line / "first", "maps", "overlays", "sheet.jpg")
    assert names(line) == ["first/mine.png", "own.png"]
    found = search(f"{line}/**/*.*")
    assert [path.name for path in found.images] == ["mine.png", "own.png"]
    assert "file that vlmad wrote" in found.message
    for source in (line / "first/maps", line / "first/overlays/own-1.jpg", line / "first/sheet.jpg"):
        with pytest.raises(ImageError, match=r"that vlmad wrote, see "):
            find_images(source)


def test_pattern_below_a_folder_with_brackets_says_how_they_are_written(tmp_path: Path) -> None:
    paint(tmp_path / "[lot 7]/0.png")
    assert len(find_images(tmp_path / "[lot 7]")) == 1
    with pytest.raises(ImageError, match=r"A bracket in a name is written \[\[\]"):
        find_images(f"{tmp_path}/[lot 7]/*.png")
    assert len(find_images(f"{tmp_path}/[[]lot 7]/*.png")) == 1


def test_names_in_no_encoding_are_found(tmp_path: Path) -> None:
    path = paint(tmp_path / "x.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xf6.png"))
    assert search(tmp_path).images == (path,)
    (tmp_path / os.fsdecode(b"gr\xf6.heic")).write_bytes(b"x")
    assert "1 x file with an unknown ending" in search(tmp_path).message

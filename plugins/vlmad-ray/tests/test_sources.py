"""A source is a folder, a pattern or a list, local or remote; every image is found once and what is not is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlmad_core.errors import ConfigError, ImageError
from vlmad_ray.batch import BatchOptions, run_batch
from vlmad_ray.sources import find_addresses
from vlmad_ray.worker import Worker


@pytest.fixture
def bucket(tmp_path: Path, write_images: Callable[[Path, int], Path]) -> Iterator[str]:
    """Three images and a text in a store that is no folder."""
    store = fsspec.filesystem("memory")
    for path in write_images(tmp_path / "up", 3).iterdir():
        store.pipe_file(f"/bucket/parts/{path.name}", path.read_bytes())
    store.pipe_file("/bucket/parts/readme.txt", b"text")
    yield "memory://bucket/parts"
    store.rm("/bucket", recursive=True)


def test_a_folder_and_a_pattern_give_absolute_paths(tmp_path: Path, write_images: Callable[[Path, int], Path]) -> None:
    folder = write_images(tmp_path / "a", 3)
    found, note = find_addresses(str(folder))
    assert found == [str(folder / f"{i:05}.png") for i in range(3)]
    assert note == ""
    assert find_addresses(str(folder / "0000[12].png"))[0] == found[1:]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_list_has_a_column_of_addresses_and_each_counts_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"list.{kind}"
    addresses = ["s3://a/1.png", "b.png", "s3://a/1.png"]
    if kind == "csv":
        path.write_text("line,uri\n" + "\n".join(f"{i},{a}" for i, a in enumerate(addresses)) + "\n")
    else:
        pq.write_table(pa.table({"line": [0, 1, 2], "uri": addresses}), path)
    found, note = find_addresses(str(path))
    assert found == ["s3://a/1.png", str(tmp_path / "b.png")]
    assert note.startswith("1 rows of")


def test_a_list_without_addresses_names_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("line,name\n1,a.png\n")
    with pytest.raises(
        ImageError, match="has the columns line, name; addresses were looked for in uri, path, url, image"
    ):
        find_addresses(str(path))
    assert find_addresses(str(path), "name")[0] == [str(tmp_path / "a.png")]


def test_a_remote_folder_and_pattern_are_listed(bucket: str) -> None:
    found, note = find_addresses(bucket)
    assert found == [f"memory:///bucket/parts/{i:05}.png" for i in range(3)]
    assert note == "passed over: 1 files with the ending of no image."
    assert find_addresses(f"{bucket}/*1.png")[0] == found[1:2]


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match="nowhere://a: cannot be opened"):
        find_addresses("nowhere://a")


def test_a_store_without_access_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise PermissionError("no credentials")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "find", refuse)
    with pytest.raises(ImageError, match=r"memory://b: cannot be listed \(PermissionError: no credentials\)"):
        find_addresses("memory://b")


def test_a_list_that_cannot_be_fetched_stops_before_it_begins(tmp_path: Path, detector: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("uri\nmemory://gone/1.png\n")
    with pytest.raises(ConfigError, match=r"cannot be fetched .*Nothing was started"):
        run_batch(str(path), detector, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_worker_fetches_bytes_and_a_missing_one_is_a_row(bucket: str, detector: Path, tmp_path: Path) -> None:
    worker = Worker(detector=str(detector), device="cpu")
    addresses = np.array([f"{bucket}/00000.png", f"{bucket}/gone.png", f"{bucket}/readme.txt"], object)
    found = worker({"path": addresses})
    local = worker({"path": np.array([str(tmp_path / "up" / "00000.png")], object)})
    assert found["score"][0] == local["score"][0]
    assert "cannot be fetched (FileNotFoundError" in found["error"][1]
    assert found["error"][2].startswith("memory://bucket/parts/readme.txt: is not an image")


def test_a_detector_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no detector"):
        run_batch(str(tmp_path), tmp_path / "none", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"workers": 0}, {"batch_size": 0}, {"cpus": 0}, {"gpus": -1}])
def test_impossible_shares_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        BatchOptions(**options)

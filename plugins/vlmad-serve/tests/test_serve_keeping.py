"""What a server keeps, and how it changes a detector while it works."""

from __future__ import annotations

import io
import sqlite3
import threading
import time

import numpy as np
import pytest
from PIL import Image

from vlmad_core.errors import ConfigError
from vlmad_serve.archive import Archive
from vlmad_serve.command import serve_command
from vlmad_serve.results import ResultIds
from vlmad_serve.services import Services
from vlmad_serve.store import Store

RAW = {"Content-Type": "image/png"}


def test_a_detector_is_exchanged_while_requests_run_and_none_is_lost(serve, enrol, picture):
    client = serve()
    enrol(client)
    answers, stop = [], threading.Event()

    def work(seed: int) -> None:
        while not stop.is_set():
            answers.append(client.post("/v1/detectors/nut/images", content=picture(seed), headers=RAW))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    while not answers and any(thread.is_alive() for thread in threads):
        time.sleep(0.01)
    for _ in range(2):
        enrol(client, 8)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert {each.status_code for each in answers} == {200}
    versions = {each.json()["results"][0]["version"] for each in answers}
    assert versions <= {1, 2, 3} and len(versions) >= 2
    shadow = client.get("/v1/audit").json()[0]["details"]["shadow"]
    assert shadow["images"] > 0  # compared on images that were inspected before it was used


def test_the_oldest_files_without_feedback_make_room_and_their_numbers_stay(serve, enrol, inspect, picture):
    client = serve(keep_bytes=60_000)
    enrol(client)
    first, kept = inspect(client, picture(200)), inspect(client, picture(201))
    client.put(f"/v1/results/{kept['id']}/feedback", json={"label": "good"})
    for i in range(12):
        inspect(client, picture(300 + i))
    assert client.get(first["links"]["image"]).status_code == 404
    again = client.get(f"/v1/results/{first['id']}").json()
    assert again["score"] == first["score"] and again["links"]["image"] is None
    assert client.get(kept["links"]["image"]).status_code == 200
    data = client.app.state.services.settings.data
    total = sum(path.stat().st_size for path in (data / "maps").rglob("*.png"))
    assert total < 60_000
    assert client.get("/v1/detectors/nut/normals/" + _normal(data)).status_code == 200  # normal images stay


def _normal(data) -> str:
    with sqlite3.connect(data / "vlmad-serve.sqlite") as database:
        (sha256,) = database.execute("SELECT sha256 FROM normals LIMIT 1").fetchone()
    database.close()
    return str(sha256)


def test_a_restart_goes_on_with_the_corrected_detector(serve, enrol, inspect, picture):
    client = serve()
    enrol(client)
    odd = inspect(client, picture(5, spot=True))
    client.put(f"/v1/results/{odd['id']}/feedback", json={"label": "good"})
    assert client.post("/v1/detectors/nut/feedback").status_code == 201
    drift = client.get("/v1/detectors/nut/statistics").json()["drift"]
    client.__exit__(None, None, None)
    again = serve()
    assert again.get("/v1/detectors/nut").json()["version"] == 2
    assert again.get("/v1/detectors/nut/statistics").json()["drift"] == drift
    assert inspect(again, picture(5, spot=True))["score"] == pytest.approx(0, abs=1e-6)


def test_normals_that_joined_by_feedback_prove_nothing(serve, enrol, inspect, picture):
    client = serve()
    enrol(client)
    odd = inspect(client, picture(5, spot=True))
    client.put(f"/v1/results/{odd['id']}/feedback", json={"label": "good"})
    made = client.post("/v1/detectors/nut/feedback").json()["result"]
    assert any("no false-alarm rate is proved" in note for note in made["notes"])
    assert {each["proved"] for each in client.get("/v1/detectors/nut").json()["choices"]} == {None}


def test_one_process_a_data_folder(serve, settings):
    serve()
    with pytest.raises(ConfigError, match="another"):
        Services(settings())


def test_a_database_of_something_else_is_refused_and_unharmed(tmp_path):
    path = tmp_path / "x.sqlite"
    path.write_bytes(b"SQLite format 3\0 but nothing of the kind" * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a database"):
        Store(path)
    assert path.read_bytes() == before


def test_a_transaction_is_whole_or_nothing(tmp_path):
    store = Store(tmp_path / "x.sqlite")
    with pytest.raises(ZeroDivisionError), store.writing() as connection:
        connection.execute("INSERT INTO operating VALUES ('a', 0.1, NULL, NULL)")
        raise ZeroDivisionError
    assert store.rows("SELECT * FROM operating") == []
    store.close()


def test_numbers_of_results_sort_in_the_order_of_their_making():
    ids = ResultIds()
    made = [ids.next() for _ in range(1000)]
    assert made == sorted(set(made))


def test_other_machines_need_a_key(tmp_path, monkeypatch):
    monkeypatch.delenv("VLMAD_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="--api-key-file"):
        serve_command(data=tmp_path / "data", host="0.0.0.0", no_api_key=False)
    (tmp_path / "key").write_text("short")
    with pytest.raises(ConfigError, match="16 ASCII"):
        serve_command(data=tmp_path / "data", api_key_file=tmp_path / "key")
    assert not (tmp_path / "data").exists()


def test_an_image_that_another_request_uses_is_not_deleted(tmp_path):
    archive = Archive(tmp_path, Store(tmp_path / "vlmad.db"), keep_bytes=10)
    first, second = archive.put_image(b"content", "png"), archive.put_image(b"content", "png")
    assert first == second
    archive.release_image(first)  # refused
    assert archive.image_path(second).read_bytes() == b"content"  # is still decoded
    archive.release_image(second)
    assert not archive.image_path(second).exists()  # nothing refers to it


def test_a_new_image_sent_many_times_at_once_is_answered_and_kept_each_time(serve, enrol, picture):
    client = serve()
    enrol(client)
    for round_ in range(5):
        content, answers, start = picture(700 + round_), [], threading.Barrier(8)

        def send(content=content, answers=answers, start=start):
            start.wait()
            answers.append(client.post("/v1/detectors/nut/images", content=content, headers=RAW))

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [each.status_code for each in answers] == [200] * 8, {each.text for each in answers}
        assert client.get(answers[0].json()["results"][0]["links"]["image"]).content == content


def test_refused_enrolments_and_images_leave_no_file(serve, enrol, picture):
    client = serve()
    enrol(client)
    images = client.app.state.services.settings.data / "images"
    before = sorted(path.name for path in images.rglob("*.*"))
    cut = picture(900)[:-40]
    assert client.post("/v1/detectors/nut/images", content=cut, headers=RAW).status_code == 422
    files = [("files", ("a.png", picture(901), "image/png")), ("files", ("b.png", cut, "image/png"))]
    assert client.post("/v1/detectors", data={"name": "bolt"}, files=files).status_code == 422
    assert sorted(path.name for path in images.rglob("*.*")) == before


def test_pictures_of_twelve_bit_images_are_as_bright_as_the_detector_sees_them(serve, enrol, inspect):
    client = serve()
    enrol(client)
    client.app.state.services.detectors.current("nut").pipeline.bits = 12
    grey = np.full((40, 48), 4095, np.uint16)  # white of a 12-bit camera
    content = io.BytesIO()
    Image.fromarray(grey).save(content, "PNG")
    found = inspect(client, content.getvalue())
    thumbnail = Image.open(io.BytesIO(client.get(f"/v1/results/{found['id']}/thumbnail").content))
    assert np.asarray(thumbnail).mean() > 250
    near = Image.open(io.BytesIO(client.get(f"/v1/results/{found['id']}/nearest.jpg?side=image").content))
    assert np.asarray(near).mean() > 250
    overlay = np.asarray(Image.open(io.BytesIO(client.get(f"/v1/results/{found['id']}/overlay.jpg").content)))
    assert (overlay.min(axis=2) > 150).mean() > 0.2, (overlay.shape, (overlay.min(axis=2) > 150).mean())

"""Bad input of every kind: a sentence and a status below 500, and nothing written outside the data folder."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
import zlib
from pathlib import Path

import httpx
import pytest
from PIL import Image

RAW = {"Content-Type": "application/octet-stream"}


def bomb(side: int) -> bytes:
    """A small PNG whose header says that it has ``side`` squared pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_that_are_none_get_a_sentence(serve, enrol, picture):
    client = serve(max_bytes=100_000)
    enrol(client)
    stored = files(client.app.state.services.settings.data / "images")
    good = picture(1)
    cases = {
        b"": (422, "empty"),
        b"no image at all": (422, "not an image"),
        good[: len(good) // 2]: (422, "damaged or cut short"),
        picture(1, kind="JPEG")[:300]: (422, "x.png: is "),
        bomb(12_000): (413, "12000 x 12000 pixels"),
        bomb(60_000): (413, "pixels"),
        bytes(100_001): (413, "100,001 bytes"),
        b"GIF89a" + bytes(20): (422, "image"),
        b"%PDF-1.4 " + bytes(50): (422, "not an image"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>": (422, "not an image"),
    }
    for content, (status, text) in cases.items():
        answer = client.post("/v1/detectors/nut/images", content=content, headers=RAW, params={"name": "x.png"})
        assert (answer.status_code, text in answer.json()["error"]) == (status, True), answer.text
        assert str(client.app.state.services.settings.data) not in answer.text  # no path of the machine
    assert files(client.app.state.services.settings.data / "images") == stored  # nothing of them is kept
    assert client.get("/v1/results").json()["results"] == []


def test_requests_that_are_none_get_a_sentence(serve, enrol, picture):
    client = serve(max_request_bytes=200_000, max_files=20)
    enrol(client)
    url, boundary = "/v1/detectors/nut/images", {"Content-Type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    answers = {
        client.post(url, content=b"{}", headers={"Content-Type": "application/json"}): 415,
        client.post(url, content=picture(1)): 415,
        client.post(url, content=bytes(200_001), headers=RAW): 413,
        client.post(url, content=iter([bytes(150_000)] * 2), headers=RAW): 413,  # no length was announced
        client.post(url, content=part + picture(1), headers=boundary): 400,  # cut short
        client.post(url, content=b"nonsense", headers=boundary): 400,
        client.post(url, content=b"x", headers={"Content-Type": "multipart/form-data"}): 400,
        client.post(url, content=b"--b\r\n\r\nx\r\n--b--\r\n", headers=boundary): 400,  # a part without a name
        client.post(url, data={"files": "text"}, files={"other": b"x"}): 422,
        client.post(url, files=[("files", ("a.png", picture(1)))] * 21): 413,
        client.post("/v1/detectors", data={"name": "x"}, files={"files": picture(1)}): 422,  # one image alone
        client.post("/v1/detectors", content=picture(1), headers=RAW): 415,
        client.put("/v1/detectors/nut/threshold", json={"false_alarms": 2}): 422,
        client.put("/v1/detectors/nut/threshold", json={"false_alarms": 0.001}): 409,
        client.get("/v1/detectors/nut/rule", params={"false_alarms": 5e-324}): 422,
        client.put("/v1/detectors/nut/threshold", content=b"\xff{"): 422,
        client.get("/v1/results", params={"min_score": "nan"}): 422,
        client.get("/v1/results", params={"since": "1e300"}): 422,
        client.delete("/v1/results"): 405,
    }
    for answer, status in answers.items():
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"error", "name"} and answer.json()["error"]


def test_a_product_name_cannot_leave_the_data_folder(serve, picture, tmp_path):
    client = serve()
    before = files(tmp_path)
    images = [("files", (f"../../{i}.png", picture(i), "image/png")) for i in range(4)]
    for name in ("../evil", "..", "a/b", "A", "con", "x" * 49, "", "nu\x00t", "n\u00fat", "-x", "a%2fb", "."):
        answer = client.post("/v1/detectors", data={"name": name}, files=images)
        assert answer.status_code == 422, answer.text
        for path in (f"/v1/detectors/{name}", f"/page/{name}", f"/v1/results/{name}/image", f"/v1/jobs/{name}"):
            if "\x00" not in path:
                answer = client.get(path)
                assert answer.status_code in (200, 404, 422) and "root:" not in answer.text
    assert files(tmp_path) == before


def test_the_page_gives_its_own_files_alone(serve):
    client = serve()
    for path in ("/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/app.py"):
        assert client.get(path).status_code == 404
    assert client.get("/page/main.js").headers["content-type"].startswith("text/javascript")


def test_names_of_files_are_shown_and_never_used(serve, enrol, inspect, picture, tmp_path):
    client = serve()
    enrol(client)
    before = files(tmp_path)
    assert inspect(client, picture(1), name="../../../etc/pass\x07wd")["name"] == "passwd"
    assert inspect(client, picture(2), name='"><script>alert(1)</script>')["name"] == "script>"
    new = files(tmp_path) - before
    assert new and all(each.startswith(("data/images", "data/maps")) for each in new)


def test_a_wrong_key_opens_nothing(serve, picture):
    client = serve(api_key="correct horse battery")
    for headers in (
        {},
        {"X-API-Key": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"X-API-Key": "\xff".encode("latin-1")},
    ):
        assert client.get("/v1/detectors", headers=headers).status_code == 401
        assert client.post("/v1/detectors/nut/images", content=picture(1), headers=headers).status_code == 401
    assert client.post("/v1/session", json={"key": "wrong"}).status_code == 401
    assert client.get("/healthz").status_code == client.get("/").status_code == 200  # both say nothing of the parts
    assert client.get("/v1/detectors", headers={"X-API-Key": "correct horse battery"}).status_code == 200
    assert client.get("/v1/detectors", headers={"Authorization": "Bearer correct horse battery"}).status_code == 200
    assert client.post("/v1/session", json={"key": "correct horse battery"}).status_code == 204
    assert client.get("/v1/detectors").status_code == 200  # by the cookie
    cookie = next(iter(client.cookies.jar))
    assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "strict"


def test_other_web_pages_and_hosts_are_refused(serve):
    client = serve()
    assert client.post("/v1/session", json={}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.get("/v1/detectors", headers={"Host": "evil.example"}).status_code == 403  # DNS rebinding
    assert client.get("/v1/detectors", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    answer = client.get("/v1/detectors")
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    open_to = serve(allow_origins=("https://mes.example",), data=client.app.state.services.settings.data / "other")
    answer = open_to.get("/v1/detectors", headers={"Origin": "https://mes.example"})
    assert answer.headers["access-control-allow-origin"] == "https://mes.example"


def test_too_many_images_are_refused_with_the_time_to_wait(serve, enrol, picture):
    client = serve(capacity=2)
    enrol(client)
    batcher = client.app.state.services.inspection.batcher
    entered, go, predict = threading.Event(), threading.Event(), batcher._predict

    def slow(version, pictures):
        entered.set()
        assert go.wait(20)
        return predict(version, pictures)

    batcher._predict = slow
    answers = []
    form = [("files", (f"{i}.png", picture(i), "image/png")) for i in range(2)]
    thread = threading.Thread(target=lambda: answers.append(client.post("/v1/detectors/nut/images", files=form)))
    thread.start()
    assert entered.wait(20)
    refused = client.post("/v1/detectors/nut/images", content=picture(5), headers=RAW)
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
    go.set()
    thread.join(20)
    assert answers[0].status_code == 200 and len(answers[0].json()["results"]) == 2  # what was accepted is answered
    assert client.post("/v1/detectors/nut/images", content=picture(5), headers=RAW).status_code == 200
    assert client.post("/v1/detectors/nut/images", files=form + form[:1]).status_code == 413  # never room for three


def test_an_image_that_takes_too_long_is_given_up(serve, enrol, picture):
    client = serve(timeout=0.2)
    enrol(client)
    batcher = client.app.state.services.inspection.batcher
    go, predict = threading.Event(), batcher._predict
    batcher._predict = lambda version, pictures: go.wait(20) and predict(version, pictures)
    answer = client.post("/v1/detectors/nut/images", content=picture(5), headers=RAW)
    assert answer.status_code == 504 and "0.2 seconds" in answer.json()["error"]
    go.set()
    batcher._predict = predict
    assert client.get("/healthz").status_code == 200


def test_one_image_that_breaks_the_detector_does_not_take_its_batch_with_it(serve, enrol, picture):
    client = serve()
    enrol(client)
    pipeline = client.app.state.services.detectors.current("nut").pipeline
    predict = pipeline.predict_batch

    def fragile(pictures, class_names=None):
        if any(each.size == (20, 20) for each in pictures):
            raise RuntimeError("broken")
        return predict(pictures, class_names)

    pipeline.predict_batch = fragile
    form = [("files", (f"{i}.png", picture(i), "image/png")) for i in range(3)]
    form.insert(1, ("files", ("bad.png", picture(9, size=(20, 20)), "image/png")))
    results = client.post("/v1/detectors/nut/images", files=form).json()["results"]
    assert ["error" in each for each in results] == [False, True, False, False]
    assert "broken" in results[1]["error"]


def test_a_client_that_sends_a_byte_at_a_time_is_cut_off(live, enrol):
    base = live(body_timeout=0.5)
    with httpx.Client(base_url=base, timeout=60) as client:
        enrol(client, 4)
    host, port = base.removeprefix("http://").split(":")
    lines = ["POST /v1/detectors/nut/images HTTP/1.1", "Host: 127.0.0.1", "Content-Type: image/png"]
    head = "\r\n".join([*lines, "Content-Length: 1000", "", ""])
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode())
        for _ in range(6):
            connection.sendall(b"x")
            time.sleep(0.05)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_every_kind_of_image_is_inspected(serve, enrol, picture):
    client = serve()
    enrol(client)
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"):
        content = picture(3, kind=kind)
        assert Image.open(io.BytesIO(content)).format == kind
        answer = client.post("/v1/detectors/nut/images", content=content, headers=RAW)
        assert answer.status_code == 200, (kind, answer.text)

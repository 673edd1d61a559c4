"""What the API answers, over HTTP in this process."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

import vlmad_core
from vlmad_core.run import read_map


def test_a_product_is_enrolled_and_decides(serve, enrol, inspect, picture):
    client = serve()
    made = enrol(client, 20, class_name="metal nut")["result"]
    assert (made["version"], made["false_alarms"], made["normals"]) == (1, 0.05, 20)  # 19 normals carry 5 %
    assert inspect(client, picture(3))["verdict"] == "pass"
    found = inspect(client, picture(3, spot=True))
    assert found["verdict"] == "reject" and found["score"] > found["threshold"] == made["threshold"]
    assert found["p_value"] == 1 / 21 and found["confidence"] > 0.5
    (left, top, right, bottom) = found["regions"][0]["box"]
    assert left < 24 and right > 10 and top < 20 and bottom > 8  # where the spot is


def test_the_answer_is_that_of_the_detector_itself(serve, enrol, inspect, picture, tmp_path):
    client = serve()
    enrol(client)
    content = picture(50, spot=True)
    (tmp_path / "part.png").write_bytes(content)
    found = inspect(client, content, map="png")
    own = client.app.state.services.detectors.current("nut").pipeline.predict(tmp_path / "part.png")
    assert found["score"] == pytest.approx(own.score, abs=1e-6)
    (tmp_path / "map.png").write_bytes(base64.b64decode(found["map_png"]))
    values = read_map(tmp_path / "map.png")
    np.testing.assert_allclose(values, own.raw_map, atol=2e-5)
    assert client.get(found["links"]["map"]).content == (tmp_path / "map.png").read_bytes()


def test_several_images_of_a_form_are_answered_in_order_and_a_bad_one_by_itself(serve, enrol, picture):
    client = serve()
    enrol(client)
    files = [("files", (f"{i}.png", c, "image/png")) for i, c in enumerate([picture(1), b"no image", picture(2)])]
    answer = client.post("/v1/detectors/nut/images", files=files)
    first, bad, last = answer.json()["results"]
    assert answer.status_code == 200 and (first["name"], last["name"]) == ("0.png", "2.png")
    assert bad == {"error": "1.png: is not an image that can be read; send JPEG, PNG, TIFF, WebP, BMP or another "
                   "common format.", "name": "1.png"}  # fmt: skip


def test_another_rate_decides_one_request_or_one_result_and_changes_nothing(serve, enrol, inspect, picture):
    client = serve()
    enrol(client, 20)
    usual, strict = inspect(client, picture(3)), inspect(client, picture(3), false_alarms=0.5)
    assert strict["threshold"] < usual["threshold"] and strict["false_alarms"] == 0.5
    again = client.get(f"/v1/results/{usual['id']}/verdict", params={"false_alarms": 0.5}).json()
    assert again["threshold"] == strict["threshold"] and "About 0.5 of good images" in again["promise"]
    assert client.get("/v1/detectors/nut").json()["rule"]["false_alarms"] == 0.05
    refused = client.get("/v1/detectors/nut/rule", params={"false_alarms": 0.01})
    assert refused.status_code == 409 and "Add 79 more" in refused.json()["error"]  # 99 are needed


def test_a_rate_that_is_set_is_in_the_audit_log_and_survives_a_restart(serve, enrol, picture, settings):
    client = serve()
    enrol(client)
    chosen = {"false_alarms": 0.1, "by": "Ada", "comment": "too many alarms"}
    before = client.get("/v1/detectors/nut").json()["rule"]["threshold"]
    after = client.put("/v1/detectors/nut/threshold", json=chosen).json()["rule"]["threshold"]
    assert after < before
    entry = client.get("/v1/audit", params={"detector": "nut"}).json()[0]
    assert (entry["action"], entry["by"], entry["details"]["comment"]) == ("threshold", "Ada", "too many alarms")
    assert (entry["details"]["before"]["threshold"], entry["details"]["after"]["threshold"]) == (before, after)
    client.__exit__(None, None, None)
    assert serve().get("/v1/detectors/nut").json()["rule"]["threshold"] == after


def test_a_detector_of_vlmad_fit_is_served_under_its_name(serve, inspect, picture, tmp_path):
    images = []
    for i in range(20):
        images.append(tmp_path / f"{i}.png")
        images[-1].write_bytes(picture(i))
    spec = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}
    detector = vlmad_core.build(spec, device="cpu").fit(images, "nut", calibrate=True)
    detector.save(tmp_path / "nut.vlmad")
    client = serve(tmp_path / "nut.vlmad")
    assert [each["name"] for each in client.get("/v1/detectors").json()] == ["nut"]
    (tmp_path / "part.png").write_bytes(picture(77))
    expected = detector.predict(tmp_path / "part.png")
    found = inspect(client, picture(77))
    assert found["score"] == pytest.approx(expected.score, abs=1e-6)
    assert found["verdict"] == detector.verdict(expected).label


def test_feedback_joins_memory_and_calibration(serve, enrol, inspect, picture):
    client = serve()
    enrol(client, 20)
    odd = inspect(client, picture(5, spot=True))
    missed = inspect(client, picture(90))
    client.put(f"/v1/results/{odd['id']}/feedback", json={"label": "good", "by": "Ada"})
    client.put(f"/v1/results/{missed['id']}/feedback", json={"label": "defect"})
    counts = client.get("/v1/detectors/nut/statistics").json()
    assert (counts["overkill"]["count"], counts["overkill"]["total"]) == (1, 1)
    assert (counts["miss"]["count"], counts["miss"]["total"], counts["waiting_feedback"]) == (1, 1, 2)
    made = client.post("/v1/detectors/nut/feedback")
    assert made.status_code == 201, made.text
    result = made.json()["result"]
    assert (result["version"], result["normals"], result["good"], result["defects"]) == (2, 21, 1, 1)
    assert result["shadow"]["labelled"] == 2 and result["shadow"]["wrong_before"] == 2
    assert inspect(client, picture(5, spot=True))["score"] == pytest.approx(0, abs=1e-6)  # it is remembered now
    calibration = client.app.state.services.detectors.current("nut").pipeline.calibration
    assert [image.score for image in calibration.defects] != [] and len(calibration.references) == 21
    assert client.post("/v1/detectors/nut/feedback").status_code == 409  # nothing new
    back = client.post("/v1/detectors/nut/versions/1/activate", params={"by": "Ada"}).json()
    assert back["version"] == 1 and inspect(client, picture(5, spot=True))["score"] == pytest.approx(odd["score"])


def test_held_out_images_join_the_calibration(serve, enrol, picture):
    client = serve()
    enrol(client, 20)
    files = [("normals", (f"n{i}.png", picture(100 + i), "image/png")) for i in range(19)]
    files += [("defects", ("d.png", picture(7, spot=True), "image/png"))]
    made = client.post("/v1/detectors/nut/calibrate", files=files).json()["result"]
    assert made["promise"].startswith("At most 0.05 of good images are rejected on average (split conformal, 19")
    files = [("normals", ("d.png", picture(7, spot=True), "image/png"))]
    refused = client.post("/v1/detectors/nut/calibrate", files=files)
    assert refused.status_code == 422 and "which is there as a defect" in refused.json()["error"]


def test_ten_images_carry_ten_per_cent_and_the_answer_says_what_is_missing(serve, enrol, inspect, picture):
    client = serve()
    assert enrol(client, 10)["result"]["false_alarms"] == 0.1
    needed = {each["rate"]: each["missing"] for each in client.get("/v1/detectors/nut").json()["needed"]}
    assert needed[0.05] == 9 and needed[0.01] == 89 and needed[0.1] == 0
    assert enrol(client, 2, name="few")["result"]["false_alarms"] is None
    few = client.get("/v1/detectors/few").json()
    assert few["rule"] is None and "needs" in few["reason"]


def test_pictures_of_a_result_are_drawn(serve, enrol, inspect, picture):
    client = serve()
    enrol(client)
    links = inspect(client, picture(4, spot=True))["links"]
    assert client.get(links["image"]).content == picture(4, spot=True)
    for name, kind in (("thumbnail", "JPEG"), ("heat", "WEBP"), ("overlay", "JPEG"), ("map", "PNG")):
        answer = client.get(links[name])
        assert answer.status_code == 200
        assert Image.open(io.BytesIO(answer.content)).format == kind


def test_the_nearest_normal_is_shown(serve, enrol, inspect, picture):
    client = serve(recipe={"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]})  # has a class token
    enrol(client)
    nearest = inspect(client, picture(6))["nearest_normal"]
    assert nearest["distance"] == pytest.approx(0, abs=1e-5)
    assert client.get(nearest["image"]).content == picture(6)


def test_the_evidence_adds_up_to_the_score_and_names_the_nearest_place(serve, enrol, inspect, picture):
    client = serve()
    enrol(client)
    found = inspect(client, picture(6, spot=True))
    evidence = client.get(found["links"]["evidence"]).json()
    assert sum(reason["value"] for reason in evidence["reasons"]) == pytest.approx(found["score"], abs=1e-5)
    assert evidence["score_without_place"] < found["score"]
    left, top, right, bottom = evidence["nearest"]["region"]
    assert left < 24 and right > 10 and top < 20 and bottom > 8  # where the spot is
    for side in ("image", "normal"):
        answer = client.get(f"/v1/results/{found['id']}/nearest.jpg", params={"side": side})
        assert answer.status_code == 200 and Image.open(io.BytesIO(answer.content)).format == "JPEG"
    assert "/data/" not in json.dumps(evidence)  # no path of the machine


def test_results_are_listed_filtered_and_exported(serve, enrol, inspect, picture):
    client = serve()
    enrol(client)
    bad = inspect(client, picture(1, spot=True), name="=cmd|spot.png")
    good = inspect(client, picture(2), name="plain.png")
    client.put(f"/v1/results/{good['id']}/feedback", json={"label": "good"})

    def listed(**params):
        return [each["id"] for each in client.get("/v1/results", params=params).json()["results"]]

    assert listed() == [good["id"], bad["id"]]
    assert listed(verdict="reject") == listed(search="spot") == listed(label="none") == [bad["id"]]
    assert listed(label="good") == listed(max_score=good["score"]) == [good["id"]]
    assert listed(before=good["id"]) == [bad["id"]] and listed(detector="other") == []
    lines = client.get("/v1/export/results.jsonl").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [good["id"], bad["id"]]
    table = client.get("/v1/export/results.csv", params={"verdict": "reject"}).text
    assert "'=cmd|spot.png" in table and len(table.splitlines()) == 2
    assert client.get("/v1/export/nut/report.html").status_code == 501  # the registry of this test has no report


def test_the_page_of_vlmad_report_is_exported_where_it_is_installed(serve, vlmad_registry, enrol, inspect, picture):
    pytest.importorskip("vlmad_report", reason="no vlmad-report here: `pip install vlmad-report`")
    vlmad_registry.add("vlmad_report.plugin", "vlmad-report")
    client = serve()
    enrol(client)
    inspect(client, picture(1, spot=True), name="spot <b>.png")
    answer = client.get("/v1/export/nut/report.html", params={"verdict": "reject"})
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    assert "nut: inspected images" in answer.text and "1 image, report of" in answer.text
    assert list((client.app.state.services.settings.data / "exports").iterdir()) == []  # nothing is left behind
    assert client.get("/v1/export/nut/report.html", params={"verdict": "review"}).status_code == 409


def test_metrics_and_health_count(serve, enrol, inspect, picture):
    client = serve()
    enrol(client)
    inspect(client, picture(1))
    assert client.get("/healthz").json()["detectors"] == ["nut"] and client.get("/readyz").status_code == 200
    text = client.get("/metrics").text
    assert 'vlmad_images_total{detector="nut",verdict="pass"} 1.0' in text
    assert 'route="/v1/detectors/{name}/images",status="200"} 1.0' in text


def test_drift_is_found_and_acknowledged(serve, enrol, inspect, picture):
    client = serve()
    enrol(client)
    services = client.app.state.services
    version = services.detectors.current("nut")
    scores = np.random.default_rng(0).normal(size=200) + np.repeat([0, 3], 100)
    for i, score in enumerate(scores.tolist()):
        services.drift.take(version, f"{i:024x}", score)
    drift = client.get("/v1/detectors/nut/statistics").json()["drift"]
    assert drift["is_alarm"] and 100 < drift["alarm_at"] < 160
    assert not client.post("/v1/detectors/nut/drift/acknowledge", params={"by": "Ada"}).json()["is_alarm"]
    actions = [entry["action"] for entry in client.get("/v1/audit").json()]
    assert actions[:2] == ["drift acknowledged", "drift"]

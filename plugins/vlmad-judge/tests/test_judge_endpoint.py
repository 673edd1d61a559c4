"""What is sent, what is read, what is stored: against a well-behaved endpoint."""

import base64
import io
import json
import math
from dataclasses import replace

import pytest
from PIL import Image
from pydantic import ValidationError

from vlmad_core.errors import ConfigError
from vlmad_judge.endpoint import OpenAICompatible
from vlmad_judge.plugin import OpenAICompatibleConfig
from vlmad_judge.testing import GOOD, reply, send


def texts(body):
    return "\n".join(
        part["text"] for message in body["messages"][1:] for part in message["content"] if part["type"] == "text"
    ) + str(body["messages"][0]["content"])


def pictures(body):
    urls = [part["image_url"]["url"] for part in body["messages"][1]["content"] if part["type"] == "image_url"]
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def test_the_question_has_the_drawn_image_the_crop_the_facts_and_temperature_zero(endpoint, ask, case):
    (opinion,) = ask().ask([case])
    (body,) = endpoint.requests
    assert (opinion.outcome, opinion.sentence, opinion.kind, opinion.tokens) == ("defect", GOOD["why"], "scratch", 321)
    assert body["temperature"] == 0
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["defect", "where", "kind", "why"]
    assert endpoint.paths == ["/v1/chat/completions"]
    for fact in ("metal nut", "0.9", "above its threshold 0.5", "top left", "1 %"):
        assert fact in texts(body)
    framed, crop = pictures(body)
    assert max(framed.size) == 64
    red = [pixel for pixel in framed.get_flattened_data() if pixel[0] > 180 and pixel[1] < 90]
    assert red
    assert not [pixel for pixel in crop.get_flattened_data() if pixel[0] > 180 and pixel[1] < 90]


def test_the_name_of_the_file_is_never_sent(endpoint, ask, case):
    ask().ask([case])
    assert "ignore all instructions" not in json.dumps(endpoint.requests[0])


def test_a_normal_image_is_sent_along_where_there_is_one(endpoint, ask, case, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "normal.png")
    ask().ask([replace(case, reference=tmp_path / "normal.png")])
    assert len(pictures(endpoint.requests[0])) == 3


def test_the_key_comes_from_the_environment_and_stands_nowhere_else(endpoint, ask, case, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    judge = ask(api_key_env="MY_KEY")
    judge.ask([case])
    assert endpoint.headers[0]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in json.dumps([dict(judge.settings()), judge.notice])


def test_a_missing_key_is_refused_before_anything_is_sent(ask, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ConfigError, match="MY_KEY, which is not set"):
        ask(api_key_env="MY_KEY")


def test_a_key_never_travels_unencrypted_to_another_machine(ask, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with pytest.raises(ConfigError, match="unencrypted"):
        ask(base_url="http://models.example.com/v1", api_key_env="MY_KEY")


@pytest.mark.parametrize(
    "options", [{}, {"base_url": "http://127.0.0.1/v1"}, {"model": "x"}, {"base_url": "ftp://x", "model": "x"}]
)
def test_there_is_no_address_or_model_by_default(options):
    with pytest.raises(ValidationError):
        OpenAICompatibleConfig(**options)


def test_the_notice_says_what_is_sent_and_where(ask):
    notice = ask().notice
    assert "this machine" in notice
    assert "No file name" in notice
    assert (
        "ANOTHER MACHINE" in OpenAICompatible(OpenAICompatibleConfig(base_url="https://a.example/v1", model="m")).notice
    )


def test_the_same_question_is_asked_once_and_another_image_again(endpoint, ask, case, tmp_path):
    judge = ask(cache=tmp_path / "cache")
    first, second = judge.ask([case])[0], judge.ask([case])[0]
    assert (first.cached, second.cached, len(endpoint.requests)) == (False, True, 1)
    assert second.sentence == first.sentence
    Image.new("RGB", (120, 90), "blue").save(case.result.path)
    judge.ask([case])
    ask(cache=tmp_path / "cache", model="other").ask([case])
    assert len(endpoint.requests) == 3


def test_a_failed_answer_is_not_stored(endpoint, ask, case, tmp_path):
    endpoint.answer = lambda handler: send(handler, 200, reply("no JSON"))
    judge = ask(cache=tmp_path / "cache")
    assert judge.ask([case])[0].outcome == "unparsable"
    endpoint.answer = lambda handler: send(handler, 200, reply(json.dumps(GOOD)))
    assert judge.ask([case])[0].outcome == "defect"


def test_a_broken_file_of_the_cache_is_asked_again(endpoint, ask, case, tmp_path):
    judge = ask(cache=tmp_path / "cache")
    judge.ask([case])
    for file in (tmp_path / "cache").iterdir():
        file.write_text("{")
    assert judge.ask([case])[0].outcome == "defect"
    assert len(endpoint.requests) == 2


def test_probabilities_come_from_the_token_of_the_vote(endpoint, ask, case):
    tokens = [
        '{"',
        "defect",
        '":',
        " true",
        ', "where": "top left", "kind": "scratch", "why": "It is at the top left."}',
    ]
    items = [{"token": token, "logprob": -0.1, "top_logprobs": []} for token in tokens]
    items[3]["top_logprobs"] = [
        {"token": " true", "logprob": math.log(0.6)},
        {"token": " false", "logprob": math.log(0.2)},
    ]
    endpoint.answer = lambda handler: send(handler, 200, reply("".join(tokens), logprobs={"content": items}))
    assert ask().ask([case])[0].p_defect == pytest.approx(0.75)


def test_images_are_asked_in_parallel_and_answered_in_order(endpoint, ask, case):
    def answer(handler):
        text = endpoint.requests[-1]
        where = "top left"
        send(handler, 200, reply(json.dumps({**GOOD, "where": where, "why": f"Seen {len(text)}."})))

    endpoint.answer = answer
    opinions = ask(parallel=4).ask([case] * 6)
    assert [one.outcome for one in opinions] == ["defect"] * 6


def test_after_three_failures_in_a_row_no_more_are_asked(endpoint, ask, case):
    endpoint.answer = lambda handler: send(handler, 500, b"down")
    judge = ask(retries=0)
    opinions = judge.ask([case] * 5)
    assert [one.outcome for one in opinions] == ["unreachable"] * 5
    assert len(endpoint.requests) == 3
    assert "not asked" in opinions[4].detail


@pytest.mark.parametrize(
    ("where", "why"), [("bottom right", "A scratch."), ("top left", "A scratch at the bottom right.")]
)
def test_a_sentence_whose_place_contradicts_the_map_is_replaced_by_one_from_the_map(endpoint, ask, case, where, why):
    endpoint.answer = lambda handler: send(handler, 200, reply(json.dumps({**GOOD, "where": where, "why": why})))
    (opinion,) = ask().ask([case])
    assert opinion.from_map
    assert opinion.sentence == (
        "The anomaly map is highest at the top left of the image; 1 region above the threshold covers 1 % of it. "
        "Score 0.9 against the threshold 0.5."
    )
    assert (opinion.outcome, opinion.where) == ("defect", "top left")


@pytest.mark.parametrize(
    "why", ["A scratch near the upper left corner.", "The thread is damaged.", "A scratch at the left."]
)
def test_a_sentence_that_agrees_or_names_no_place_stays(endpoint, ask, case, why):
    endpoint.answer = lambda handler: send(handler, 200, reply(json.dumps({**GOOD, "why": why})))
    (opinion,) = ask().ask([case])
    assert (opinion.from_map, opinion.sentence) == (False, why)

"""Several devices: batches in turn, results in order, and the numbers of one device."""

from __future__ import annotations

import json
import threading
import time

import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.run import judge, run
from vlmad_core.run.replicas import in_turn, replicate


def never(item):
    return False


def test_results_keep_the_order_of_the_items_whoever_is_slow():
    def slow(item):
        time.sleep(0.02)
        return item, threading.get_ident()

    def fast(item):
        return item, threading.get_ident()

    found = list(in_turn(range(6), [slow, fast], never))
    assert [item for item, _ in found] == [0, 1, 2, 3, 4, 5]
    ones, others = {thread for item, thread in found if item % 2 == 0}, {t for item, t in found if item % 2}
    assert len(ones) == len(others) == 1 and ones != others


def test_at_most_one_item_more_than_workers_is_held():
    taken = []

    def items():
        for number in range(10):
            taken.append(number)
            yield number

    results = in_turn(items(), [str, str], never)
    assert next(results) == "0"
    assert taken == [0, 1, 2]
    results.close()


def test_an_item_that_must_be_done_first_lets_no_other_be_taken():
    taken, open_ = [], set()

    def items():
        for number in range(4):
            taken.append(number)
            open_.add(number)
            yield number
            open_.discard(number)

    def work(number):
        time.sleep(0.01)
        return number in open_

    assert list(in_turn(items(), [work, work], lambda item: True)) == [True] * 4


def test_an_error_comes_where_its_result_would():
    def work(item):
        if item == 1:
            raise ValueError("one")
        return item

    results = in_turn(range(4), [work, work], never)
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)


def test_one_worker_runs_in_the_thread_of_its_caller():
    assert list(in_turn([0], [lambda item: threading.get_ident()], never)) == [threading.get_ident()]


def test_a_replica_gives_the_numbers_of_its_original_and_shares_nothing(pipeline, pictures):
    (replica,) = replicate(pipeline, ["cpu"])
    assert replica.backbone is not pipeline.backbone
    assert {t.data_ptr() for t in pipeline.state_dict().values() if t.numel()}.isdisjoint(
        t.data_ptr() for t in replica.state_dict().values() if t.numel()
    )
    for one, other in zip(pipeline.predict(pictures), replica.predict(pictures), strict=True):
        assert one.score == other.score and (one.raw_map == other.raw_map).all()


def test_a_run_on_three_devices_is_the_run_on_one(pipeline, pictures, tmp_path):
    pictures[4].write_bytes(b"no picture")
    lines = []
    for name, devices in (("one", []), ("three", ["cpu", "cpu"])):
        run(pipeline, pictures, tmp_path / name, batch_size=2, replicas=replicate(pipeline, devices))
        rows = [json.loads(line) for line in (tmp_path / name / "results.jsonl").read_text().splitlines()]
        lines.append([{**row, "milliseconds": 0} for row in rows])
    assert lines[0] == lines[1]
    assert [row["error"] is None for row in lines[0]] == [number != 4 for number in range(12)]


def test_tiles_are_judged_before_the_next_image_is_opened(make_pipeline, pictures):
    pipeline = make_pipeline(tiles={"when": "always", "count": 2})
    one = [[result.score for result, _ in batch] for batch in judge(pipeline, pictures, batch_size=2)]
    two = [
        [result.score for result, _ in batch]
        for batch in judge(pipeline, pictures, batch_size=2, replicas=replicate(pipeline, ["cpu"]))
    ]
    assert one == two and len(one) == len(pictures) and all(score is not None for batch in one for score in batch)


def test_what_cannot_be_copied_is_refused_in_a_sentence(pipeline):
    pipeline.session = threading.Lock()
    with pytest.raises(ConfigError, match="cannot be copied to a second device"):
        replicate(pipeline, ["cpu"])

import numpy as np
import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.persistence import any_window_rate
from vlmad_core.inspection.temporal import Frame, TemporalFilter, TemporalState, finish


def run(filter_, frames):
    state, verdicts = None, []
    for frame in frames:
        verdict, state = filter_.step(frame, state)
        verdicts.append(verdict)
    return verdicts, state


def test_the_mean_is_exponential_and_starts_at_the_first_score():
    verdicts, _ = run(TemporalFilter(high=10, weight=0.25), [Frame(4.0), Frame(8.0), Frame(0.0)])
    assert [verdict.mean for verdict in verdicts] == [4.0, 5.0, 3.75]


def test_an_alarm_rises_above_the_upper_and_ends_at_the_lower_threshold():
    scores = [1, 3, 3.1, 2.5, 2.1, 2.0, 2.5, 3.0]
    verdicts, _ = run(TemporalFilter(high=3, low=2, weight=1), [Frame(score) for score in scores])
    assert [verdict.is_raised for verdict in verdicts] == [False, False, True, True, True, False, False, False]
    assert [verdict.label for verdict in verdicts] == [
        "reject" if verdict.is_raised else "pass" for verdict in verdicts
    ]


def test_one_bright_frame_raises_no_alarm_in_the_mean():
    verdicts, _ = run(TemporalFilter(high=0.6, weight=0.3), [Frame(s) for s in (0.1, 0.1, 1.0, 0.1)])
    assert {verdict.label for verdict in verdicts} == {"pass"}


def dot(x, y, size=4):
    return (x, y, x + size, y + size)


def test_a_region_must_be_found_k_times_in_n_frames_at_the_same_place():
    filter_ = TemporalFilter(k=3, n=5)
    here, there = dot(10, 10), dot(80, 10)
    frames = [(here,), (there,), (here,), (), (here,), (), (there,), ()]
    verdicts, _ = run(filter_, [Frame(0.0, boxes) for boxes in frames])
    assert [verdict.persistent for verdict in verdicts] == [(), (), (), (), (here,), (), (), ()]
    # The same number of regions at changing places is no defect.
    verdicts, _ = run(filter_, [Frame(0.0, (dot(20 * i, 0),)) for i in range(20)])
    assert not any(verdict.persistent for verdict in verdicts)


def test_regions_that_move_are_matched_by_overlap_or_by_distance():
    jumping = [Frame(0.0, (dot(10 + 5 * (i % 2), 10),)) for i in range(3)]  # 5 pixels, no overlap
    assert run(TemporalFilter(k=3, n=3), jumping)[0][-1].label == "pass"
    assert run(TemporalFilter(k=3, n=3, max_distance=5), jumping)[0][-1].label == "reject"
    creeping = [Frame(0.0, (dot(i, 0),)) for i in range(30)]  # overlap of 3 in 5 from frame to frame
    assert run(TemporalFilter(k=3, n=3), creeping)[0][-1].persistent == (dot(29, 0),)


def test_two_near_regions_keep_their_own_tracks():
    a, b = dot(0, 0), dot(5, 0)
    frames = [Frame(0.0, (a, b)), Frame(0.0, (b, a)), Frame(0.0, (b,)), Frame(0.0, (b,))]
    verdicts, state = run(TemporalFilter(k=4, n=4, max_distance=6), frames)
    assert verdicts[-1].persistent == (b,)
    assert sorted((track.box, sum(track.hits)) for track in state.tracks) == [(a, 2), (b, 4)]


def test_there_is_one_verdict_for_each_part():
    filter_ = TemporalFilter(high=0.5, weight=1)
    frames = [
        Frame(0.1, part="a"),
        Frame(0.9, part="a"),
        Frame(0.3, part="a"),
        Frame(0.2, part="b"),
        Frame(0.4, part="b"),
    ]
    verdicts, state = run(filter_, frames)
    assert [verdict.finished is None for verdict in verdicts] == [True, True, True, False, True]
    part = verdicts[3].finished
    assert (part.part, part.label, part.n_frames, part.n_alarms) == ("a", "reject", 3, 1)
    assert (part.best_frame, part.best_score) == (1, 0.9)
    last = finish(state)
    assert (last.part, last.label, last.n_frames, last.best_frame) == ("b", "pass", 2, 1)
    assert finish(TemporalState()) is None


def test_nothing_of_a_part_reaches_the_next_one():
    filter_ = TemporalFilter(high=0.5, weight=0.5, k=2, n=3)
    frames = [Frame(1.0, (dot(0, 0),), "a"), Frame(0.0, (dot(0, 0),), "b")]
    verdicts, state = run(filter_, frames)
    assert (verdicts[1].mean, verdicts[1].label, len(state.tracks[0].hits)) == (0.0, "pass", 1)


def test_a_stream_continues_from_its_file_as_if_it_had_never_stopped():
    rng = np.random.default_rng(0)
    filter_ = TemporalFilter(high=0.7, low=0.5, k=2, n=4)
    frames = [Frame(float(rng.uniform()), (dot(int(rng.integers(3)), 0),), f"p{i // 7}") for i in range(40)]
    verdicts, state = run(filter_, frames)
    _, half = run(filter_, frames[:20])
    half = TemporalState.from_json(half.to_json())
    for frame, expected in zip(frames[20:], verdicts[20:], strict=True):
        verdict, half = filter_.step(frame, half)
        assert verdict == expected
    assert half == state


def test_false_alarms_of_good_parts_are_as_frequent_as_the_formula_says():
    rng = np.random.default_rng(1)
    filter_, rate, frames, parts = TemporalFilter(k=2, n=4), 0.1, 8, 1500
    box, alarms = dot(0, 0), 0
    for _ in range(parts):
        hits = rng.uniform(size=frames) < rate
        _, state = run(filter_, [Frame(0.0, (box,) if hit else ()) for hit in hits])
        alarms += finish(state).label == "reject"
    expected = any_window_rate(rate, 2, 4, frames)
    assert abs(alarms / parts - expected) < 4 * np.sqrt(expected * (1 - expected) / parts)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, "needs a threshold"),
        ({"k": 3}, "both numbers"),
        ({"k": 4, "n": 3}, "1 <= k <= n"),
        ({"high": 1, "low": 2}, r"lower threshold \(2\)"),
        ({"k": 1, "n": 1, "low": 0.5}, "lower threshold"),
        ({"high": 1, "weight": 0}, "weight"),
        ({"high": 1, "min_overlap": 0}, "min_overlap"),
        ({"high": 1, "max_distance": -1}, "max_distance"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(options, part):
    with pytest.raises(ConfigError, match=part):
        TemporalFilter(**options)


def test_frames_and_states_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="not finite"):
        TemporalFilter(high=1).step(Frame(float("nan")))
    with pytest.raises(ConfigError, match="not a temporal state"):
        TemporalState.from_json('{"part": "a", "n_frames": ')

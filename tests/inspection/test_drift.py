from functools import reduce

import numpy as np
import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.drift import ALARM_LEVEL, DriftState, step


def after(scores, state):
    return reduce(lambda state, score: step(float(score), state)[1], scores, state)


def test_without_a_change_an_alarm_is_as_rare_as_the_inequality_says():
    rng = np.random.default_rng(0)
    level, trials = 10.0, 300
    alarms = sum(
        after(rng.integers(0, 20, 100), DriftState.begin(rng.integers(0, 20, 20), level=level)).is_alarm
        for _ in range(trials)
    )
    assert alarms / trials <= 1 / level


def test_the_capital_is_a_fair_game():
    rng = np.random.default_rng(1)
    capitals = [after(rng.uniform(size=8), DriftState.begin(rng.uniform(size=5))).capital for _ in range(3000)]
    assert abs(np.mean(capitals) - 1) < 4 * np.std(capitals) / np.sqrt(3000)


def test_p_values_are_uniform_whatever_the_ties():
    rng = np.random.default_rng(2)
    state, values = DriftState.begin(), []
    for score in rng.integers(0, 3, 1500):
        value, state = step(float(score), state)
        values.append(value)
    counts, _ = np.histogram(values, 10, (0, 1))
    assert ((counts - 150) ** 2 / 150).sum() < 27.9  # chi-squared with 9 degrees of freedom, 0.1 %


@pytest.mark.parametrize("shift", [1.5, -1.5])
def test_a_change_in_either_direction_raises_an_alarm_that_stays(shift):
    rng = np.random.default_rng(3)
    state = after(rng.standard_normal(300), DriftState.begin(rng.standard_normal(100)))
    assert not state.is_alarm
    state = after(rng.standard_normal(100) + shift, state)
    assert 300 < state.alarm_at < 380
    assert state.level == ALARM_LEVEL
    assert after(rng.standard_normal(200), state).alarm_at == state.alarm_at
    assert not state.acknowledged().is_alarm
    assert state.acknowledged().capital == 1


def test_a_period_bounds_what_is_kept_and_starts_again_with_the_normals():
    state = after(np.linspace(0, 1, 25), DriftState.begin([3.0, 1.0], period=10))
    assert (state.n_images, state.n_in_period, len(state.scores), state.start) == (25, 5, 7, (1.0, 3.0))


def test_a_stream_continues_from_its_file_as_if_it_had_never_stopped():
    scores = np.random.default_rng(4).standard_normal(60).round(1)
    state = DriftState.begin([0.0, 0.1], period=25)
    half = DriftState.from_json(after(scores[:30], state).to_json())
    assert after(scores[30:], half) == after(scores, state)


def test_a_step_leaves_the_given_state_as_it_was():
    state = DriftState.begin([1.0])
    before = state.to_json()
    step(2.0, state)
    assert state.to_json() == before


def test_states_and_scores_that_cannot_be_are_refused():
    text = after([1, 2, 3], DriftState.begin([0.0])).to_json()
    for wrong in (
        text[:-5],
        "",
        "{}x",
        text.replace("[0.0,1.0", "[5.0,1.0"),
        text.replace('"period":5000', '"period":2'),
    ):
        with pytest.raises(ConfigError, match="not a drift state"):
            DriftState.from_json(wrong)
    with pytest.raises(ConfigError, match="level"):
        DriftState.begin(level=1)
    with pytest.raises(ConfigError, match="not finite"):
        step(float("nan"), DriftState.begin())

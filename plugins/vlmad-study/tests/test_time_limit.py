"""What fits into a time limit, and what happens when it is over."""

from __future__ import annotations

import pytest

from vlmad_study.time_limit import FEWEST, TimeIsUpError, TimeLimit, fit


def test_everything_is_done_where_it_fits():
    assert fit(50, 100, 40, limit=None, seeds=3).max_images is None
    assert fit(50, 100, 40, limit=None, seeds=3).cut == ""


def test_draws_are_cut_before_images():
    found = fit(120, 100, 40, limit=None, seeds=3)
    assert (found.max_images, found.seeds) == (None, 1)
    found = fit(400, 100, 40, limit=None, seeds=3)
    assert found.seeds == 1
    assert found.max_images == int(40 * 100 / 240)
    assert found.seconds <= 100
    assert "of up to 40" in found.cut


def test_images_are_never_cut_below_what_shows_something():
    found = fit(1e6, 1, 40, limit=None, seeds=1)
    assert found.max_images == FEWEST
    assert fit(1e6, 1, 5, limit=None, seeds=1).max_images is None
    assert fit(1e6, 1, 40, limit=4, seeds=1).max_images == 4


def test_a_step_stops_when_its_time_is_over_and_never_after_all_time_is():
    limit = TimeLimit(1000)
    limit.start_step(100)
    limit.check()
    limit.start_step(-1)
    with pytest.raises(TimeIsUpError):
        limit.check()
    late = TimeLimit(0.0)
    late.start_step(100)
    with pytest.raises(TimeIsUpError):
        late.check()

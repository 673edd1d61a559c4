"""What fits into a time limit, and what happens when it is over."""

from __future__ import annotations

import pytest

from vlmad_study.time_limit import FEWEST, Fit, TimeIsUpError, TimeLimit, fit_images


def test_everything_is_done_where_it_fits():
    assert fit_images(50, 100, 40, None) == Fit(None, 50)
    assert fit_images(50, 100, 40, 20) == Fit(20, 50)


def test_as_many_images_are_taken_as_fit():
    found = fit_images(200, 100, 40, None)
    assert (found.max_images, found.seconds) == (20, 100)
    assert found.cut == "at most 20 test images of each label and category in place of 40"


def test_images_are_never_cut_below_what_shows_something():
    assert fit_images(1e6, 1, 40, None).max_images == FEWEST
    assert fit_images(1e6, 1, 5, None).max_images is None
    assert fit_images(1e6, 1, 40, 4).max_images == 4


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

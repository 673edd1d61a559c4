from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.belt import Belt, BeltState
from vlmad_core.inspection.registration import phase_shift


def texture(seed: int = 0, size: tuple[int, int] = (96, 160)) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), 1.5)


@pytest.mark.parametrize("move", [(0, 0), (3, -7), (-5, 12), (0, -20)])
def test_the_shift_is_how_far_the_picture_has_moved(move):
    y, x = move
    big = texture(size=(160, 240))
    before, after = big[30:126, 40:200], big[30 - y : 126 - y, 40 - x : 200 - x]
    found = phase_shift(before, after)
    assert (found.x, found.y) == (pytest.approx(x, abs=0.3), pytest.approx(y, abs=0.3)) and found.response > 0.1


def test_light_and_contrast_do_not_move_the_picture():
    big = texture(1, (96, 200))
    before, after = big[:, 20:180], 0.6 * big[:, 28:188] + 4
    assert phase_shift(before, after).x == pytest.approx(-8, abs=0.3)


def test_half_a_pixel_is_found():
    before = texture(2)
    after = ndimage.shift(before, (0, 2.5), order=3, mode="wrap")
    assert phase_shift(before, after).x == pytest.approx(2.5, abs=0.25)


def test_pictures_that_have_nothing_in_common_have_a_weak_peak():
    assert phase_shift(texture(3), texture(4)).response < 0.1


def test_a_constant_picture_does_not_move():
    flat = np.full((32, 32), 7.0)
    found = phase_shift(flat, flat)
    assert (found.x, found.y) == (0, 0)


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(ConfigError, match="two grey pictures of one size"):
        phase_shift(np.zeros((32, 32)), np.zeros((32, 33)))
    with pytest.raises(ConfigError, match="at least 8 x 8"):
        phase_shift(np.zeros((4, 32)), np.zeros((4, 32)))


def views(belt: Belt, shifts: list[float]) -> list[tuple[int, float] | None]:
    state, found = None, []
    for shift in shifts:
        view, state = belt.step(shift, state)
        found.append(None if view is None else (view.part, view.start))
    return found


def test_a_part_is_in_view_from_when_it_has_entered_to_when_it_leaves():
    belt = Belt(view=200, length=100, pitch=150, first=150)
    found = views(belt, [0, *[-25.0] * 9])
    # Part 0 begins at 150, 125, 100, 75 ... 0, and part 1 is 150 behind it.
    assert found[:7] == [None, None, (0, 100), (0, 75), (0, 50), (0, 25), (0, 0)]
    assert found[7:] == [None, (1, 100), (1, 75)]


def test_lines_that_run_to_the_right_are_the_mirror_image():
    belt = Belt(view=200, length=100, pitch=150, first=-50, direction=1)
    assert views(belt, [0, *[25.0] * 6]) == [None, None, (0, 0), (0, 25), (0, 50), (0, 75), (0, 100)]
    assert views(belt, [0, *[25.0] * 8])[7:] == [None, (1, 0)]


def test_a_line_that_stands_still_shows_the_same_part():
    belt = Belt(view=200, length=100, pitch=150, first=100)
    assert views(belt, [0, 0, 0, -10, 0]) == [(0, 100), (0, 100), (0, 100), (0, 90), (0, 90)]


def test_the_state_of_a_line_survives_a_restart():
    belt = Belt(view=200, length=100, pitch=150, first=150)
    _, state = belt.step(0)
    _, state = belt.step(-60, state)
    assert BeltState.from_json(state.to_json()) == state
    with pytest.raises(ConfigError, match="not a state of a belt"):
        BeltState.from_json(state.to_json()[:-4])


def test_lines_that_cannot_be_are_refused():
    for wrong in ({"length": 300}, {"pitch": 50}, {"direction": 0}, {"length": 0}):
        with pytest.raises(ConfigError, match="must fit into the view"):
            Belt(**{"view": 200, "length": 100, "pitch": 150, "first": 0, **wrong})
    with pytest.raises(ConfigError, match="finite"):
        Belt(view=200, length=100, pitch=150, first=0).step(float("nan"))

"""Order, shares and held-out images are functions of seed, epoch and place alone."""

from __future__ import annotations

from collections import Counter

import pytest

from vlmad_core.training.plan import epoch_steps, hold_out, share_of, step_seed


def indices(steps):
    return [draw.index for step in steps for draw in step]


def test_each_image_once_an_epoch_in_an_order_of_its_own():
    first, again = (epoch_steps(range(10), 4, seed=1, epoch=0) for _ in range(2))
    assert first == again
    assert [len(step) for step in first] == [4, 4, 2]
    assert sorted(indices(first)) == list(range(10))
    assert indices(first) != indices(epoch_steps(range(10), 4, seed=1, epoch=1))
    assert indices(first) != indices(epoch_steps(range(10), 4, seed=2, epoch=0))


@pytest.mark.parametrize("length", [1, 3, 5, 6])
def test_processes_share_a_step_without_gap_or_overlap(length):
    (step,) = epoch_steps(range(length), 6, seed=0, epoch=0)
    parts = [share_of(step, i, 2, 2) for i in range(2)]
    assert all(len(batch) <= 2 for part in parts for batch in part)
    assert Counter(draw for part in parts for batch in part for draw in batch) == Counter(step)


def test_mosaics_are_about_the_share_and_new_each_epoch():
    draws = [draw for step in epoch_steps(range(2000), 8, seed=0, epoch=0, mosaic=0.2) for draw in step]
    seeds = [draw.mosaic for draw in draws if draw.mosaic is not None]
    assert 320 < len(seeds) < 480
    assert len(set(seeds)) == len(seeds)
    later = [draw for step in epoch_steps(range(2000), 8, seed=0, epoch=1, mosaic=0.2) for draw in step]
    assert not set(seeds) & {draw.mosaic for draw in later}


def test_mosaics_do_not_change_the_order():
    plain, mixed = (epoch_steps(range(20), 4, seed=3, epoch=2, mosaic=share) for share in (0, 0.5))
    assert indices(plain) == indices(mixed)


def test_each_category_and_label_is_divided_alike(make_data):
    samples = make_data(80).samples
    learn, held = hold_out(samples, 0.25, seed=0)
    assert sorted(learn + held) == list(range(80))
    assert Counter((samples[i].category, samples[i].label) for i in held) == {
        (category, label): 5 for category in ("thing_0", "thing_1") for label in (True, False)
    }
    assert hold_out(samples, 0.25, seed=0) == (learn, held) != hold_out(samples, 0.25, seed=1)
    assert hold_out(samples, 0, seed=0) == (list(range(80)), [])


def test_no_group_is_held_out_whole(make_data):
    samples = make_data(4).samples
    assert hold_out(samples, 0.99, seed=0)[1] == []


def test_step_seeds_differ():
    seeds = {step_seed(0, epoch, step, process) for epoch in range(3) for step in range(3) for process in range(2)}
    assert len(seeds) == 18

"""Order, shares and held-out images are functions of seed, epoch and place alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vlmad_core.training.data import Mosaics, epoch_steps, shard, split_validation, step_seed


def indices(steps):
    return [item.index for step in steps for item in step]


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
    parts = [shard(step, i, 2, 2) for i in range(2)]
    assert all(len(batch) <= 2 for part in parts for batch in part)
    assert Counter(item for part in parts for batch in part for item in batch) == Counter(step)


def test_mosaics_are_about_the_share_and_new_each_epoch():
    items = [item for step in epoch_steps(range(2000), 8, seed=0, epoch=0, mosaic=0.2) for item in step]
    seeds = [item.mosaic for item in items if item.mosaic is not None]
    assert 320 < len(seeds) < 480
    assert len(set(seeds)) == len(seeds)
    later = [item for step in epoch_steps(range(2000), 8, seed=0, epoch=1, mosaic=0.2) for item in step]
    assert not set(seeds) & {item.mosaic for item in later}


def test_mosaics_do_not_change_the_order():
    plain, mixed = (epoch_steps(range(20), 4, seed=3, epoch=2, mosaic=share) for share in (0, 0.5))
    assert indices(plain) == indices(mixed)


def test_each_category_and_label_is_divided_alike(make_data):
    samples = make_data(80).samples
    learn, held = split_validation(samples, 0.25, seed=0)
    assert sorted(learn + held) == list(range(80))
    assert Counter((samples[i].category, samples[i].label) for i in held) == {
        (category, label): 5 for category in ("thing_0", "thing_1") for label in (True, False)
    }
    assert split_validation(samples, 0.25, seed=0) == (learn, held) != split_validation(samples, 0.25, seed=1)
    assert split_validation(samples, 0, seed=0) == (list(range(80)), [])


def test_no_group_is_held_out_whole(make_data):
    samples = make_data(4).samples
    assert split_validation(samples, 0.99, seed=0)[1] == []


def test_step_seeds_differ():
    seeds = {step_seed(0, epoch, step, process) for epoch in range(3) for step in range(3) for process in range(2)}
    assert len(seeds) == 18


def test_held_out_images_never_enter_a_mosaic(make_data):
    samples = make_data(40).samples
    learn, held_out = split_validation(samples, 0.5, seed=0)
    mosaics = Mosaics(samples, learn)
    allowed = {samples[i].image.tobytes() for i in learn}
    seen = set()
    for seed in range(60):
        image = np.asarray(mosaics.make(learn[seed % len(learn)], seed).image)
        rows = [image[:32], image[32:]]
        seen |= {tile.tobytes() for row in rows for tile in (row[:, :32], row[:, 32:])}
    assert seen <= allowed
    assert len(seen) > len(learn) / 2
    assert not seen & {samples[i].image.tobytes() for i in held_out}

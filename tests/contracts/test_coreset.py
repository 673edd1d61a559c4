"""A reduced memory bank keeps vectors that are far from each other, the same ones each time."""

import torch

from vlmad_core.contracts.coreset import coreset


def clusters(count, size, dim, seed=0):
    draws = torch.Generator().manual_seed(seed)
    centres = 10 * torch.randn(count, dim, generator=draws)
    return (centres[:, None] + 0.01 * torch.randn(count, size, dim, generator=draws)).flatten(0, 1)


def test_one_row_of_each_cluster_is_kept_when_there_are_as_many_rows_as_clusters():
    rows = clusters(150, 20, 8)  # more clusters than are chosen at a time
    assert sorted((coreset(rows, 150) // 20).tolist()) == list(range(150))


def test_a_projection_to_fewer_dimensions_finds_the_clusters_too():
    rows = clusters(40, 10, 300)
    assert sorted((coreset(rows, 40) // 10).tolist()) == list(range(40))


def test_every_row_is_nearer_to_the_kept_ones_than_to_as_many_drawn_at_random():
    draws = torch.Generator().manual_seed(1)
    rows = torch.randn(2000, 16, generator=draws) ** 3  # a few far ones
    kept, drawn = rows[coreset(rows, 100)], rows[torch.randperm(2000, generator=draws)[:100]]
    assert torch.cdist(rows, kept).amin(1).max() < 0.7 * torch.cdist(rows, drawn).amin(1).max()


def test_the_same_rows_give_the_same_choice_and_no_row_twice():
    rows = clusters(30, 30, 100, seed=2)
    first = coreset(rows, 500)
    assert torch.equal(first, coreset(rows, 500))
    assert len(first.unique()) == 500
    assert len(coreset(torch.ones(300, 4), 200).unique()) == 200  # all alike


def test_few_rows_are_all_kept():
    assert coreset(torch.randn(3, 4), 3).tolist() == [0, 1, 2]
    assert coreset(torch.randn(3, 4), 1).tolist() == [0]

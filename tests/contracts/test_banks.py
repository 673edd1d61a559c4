import copy

import pytest
import torch

from vlmad_core.contracts import BankScorer, Level, LevelSpec, Scores, check_finite, combine, combine_levels, resize
from vlmad_core.errors import IncompatibleError, VlmadError

SPEC = LevelSpec("raw1", 4, False)


class Bank(BankScorer):
    def forward(self, features, text_embeddings, size):
        return Scores(torch.zeros(1), torch.zeros(1, *size))


def rows(count, seed=0, dtype=torch.float32):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)).to(dtype)


def filled(*parts):
    bank = Bank([SPEC])
    for part in parts:
        bank.remember("raw1", part)
    return bank


def test_rows_are_joined_in_order_and_once(monkeypatch):
    calls = []
    cat = torch.cat
    monkeypatch.setattr(torch, "cat", lambda *given, **more: calls.append(1) or cat(*given, **more))
    parts = [rows(2, seed) for seed in range(20)]
    bank = filled(*parts)
    assert bank.is_fitted and not calls  # fitting copies nothing
    assert torch.equal(bank.bank("raw1"), cat(parts))
    assert torch.equal(bank.bank("raw1"), cat(parts)) and len(calls) == 1


def test_fitting_goes_on_after_the_bank_was_read():
    bank = filled(rows(2))
    assert len(bank.bank("raw1")) == 2
    bank.remember("raw1", rows(3, 1))
    assert torch.equal(bank.bank("raw1"), torch.cat([rows(2), rows(3, 1)]))


def test_nothing_is_lost_where_it_is_saved_moved_or_copied():
    wanted = torch.cat([rows(2), rows(3, 1)])
    for use in (
        lambda b: b.state_dict()["bank_raw1"],
        lambda b: torch.nn.ModuleList([b]).state_dict()["0.bank_raw1"],
        lambda b: copy.deepcopy(b).bank("raw1"),
        lambda b: b.to(torch.float64).bank("raw1").float(),
    ):
        assert torch.equal(use(filled(rows(2), rows(3, 1))), wanted)


def test_a_state_of_any_length_loads_and_replaces_what_was_there():
    other = filled(rows(1, 9))
    other.load_state_dict(filled(rows(2), rows(3, 1)).state_dict())
    assert torch.equal(other.bank("raw1"), torch.cat([rows(2), rows(3, 1)]))
    other.load_state_dict(Bank([SPEC]).state_dict())
    assert not other.is_fitted


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        (torch.full((2, 4), torch.nan), "must hold finite floating-point numbers"),
        (torch.full((2, 4), torch.inf), "must hold finite floating-point numbers"),
        (torch.ones(2, 4, dtype=torch.complex64), "torch.complex64"),
        (torch.ones(2, 4, dtype=torch.bool), "torch.bool"),
        (torch.ones(2, 5), "size mismatch"),
    ],
)
def test_a_bank_that_means_nothing_is_refused(saved, says):
    with pytest.raises(RuntimeError, match=says):
        Bank([SPEC]).load_state_dict({"bank_raw1": saved})


def test_forget_empties_what_waits_too():
    bank = filled(rows(2))
    bank.forget()
    assert not bank.is_fitted and bank.bank("raw1").shape == (0, 4)
    bank.remember("raw1", rows(3, 1))
    assert torch.equal(bank.bank("raw1"), rows(3, 1))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused(value):
    bad = rows(2)
    bad[1, 2] = value
    with pytest.raises(VlmadError, match="level 'raw1' hold values that are not finite"):
        filled(rows(2), bad)
    with pytest.raises(VlmadError, match="not finite"):
        check_finite(bad, "raw1")


def test_images_of_two_sizes_are_refused():
    bank = Bank([SPEC], prefix="seen", ndim=3)
    bank.remember("raw1", torch.zeros(2, 9, 4))
    with pytest.raises(IncompatibleError, match="16 x 4 values, and the images before had 9 x 4; fit images of one"):
        bank.remember("raw1", torch.zeros(1, 16, 4))
    assert bank.bank("raw1").shape == (2, 9, 4) and "seen_raw1" in bank.state_dict()


def test_a_bank_read_under_inference_mode_allows_gradients_later():
    bank = filled(rows(2))
    with torch.inference_mode():
        bank.bank("raw1")
    x = rows(2, 1).requires_grad_()
    (x @ bank.bank("raw1").T).sum().backward()
    assert x.grad is not None


def test_no_graph_is_kept():
    assert not filled(rows(2).requires_grad_() * 2).bank("raw1").requires_grad


# --------------------------------------------------------------------------------------------------- levels to one map


def test_levels_on_one_grid_are_combined_before_the_resize():
    cells = {"a": torch.rand(2, 3, 4), "b": torch.rand(2, 3, 4)}
    found = combine_levels(cells, (12, 16), "harmonic")
    assert torch.equal(found.fused, combine(list(cells.values()), "harmonic"))
    assert torch.equal(found.anomaly_map, resize(found.fused, (12, 16)))
    assert found.levels.keys() == cells.keys() and torch.equal(found.levels["b"], resize(cells["b"], (12, 16)))


def test_levels_on_two_grids_are_resized_first():
    cells = {"a": torch.rand(2, 3, 4), "b": torch.rand(2, 6, 8)}
    found = combine_levels(cells, (12, 16), "max", align_corners=True)
    maps = [resize(grid, (12, 16), align_corners=True) for grid in cells.values()]
    torch.testing.assert_close(found.fused, torch.maximum(*maps))
    torch.testing.assert_close(found.anomaly_map, found.fused)


def test_level_of_the_bank_is_named_by_its_spec():
    level = Level(SPEC, torch.zeros(1, 4, 4), (2, 2))
    assert Bank([level.spec]).bank("raw1").shape == (0, 4)

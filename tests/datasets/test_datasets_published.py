"""The tables add up to what the papers say in their text."""

from __future__ import annotations

from collections import Counter

import pytest

from vlmad_core.datasets import published

# how many categories, and images by cell, as published in words
TOTALS = {
    "MVTEC_AD": (15, {"train/good": 3629, "test/good": 467, "test/defective": 1258}),
    "VISA": (12, {"train/good": 8659, "test/good": 962, "test/defective": 1200}),
    "BTAD": (3, {"train/good": 1799, "test/good": 451, "test/defective": 290}),
    "MPDD": (6, {"train/good": 888, "test/good": 176, "test/defective": 282}),
    "MVTEC_LOCO": (5, {"train/good": 1772, "validation/good": 304, "test/good": 575, "test/defective": 993}),
    "MVTEC_AD_2": (8, {"train/good": 2528, "validation/good": 302, "test/good": 379, "test/defective": 705}),
    "REAL_IAD": (30, {}),
    "KOLEKTOR_SDD": (1, {"good": 347, "defective": 52}),
    "KOLEKTOR_SDD2": (1, {"train/good": 2085, "train/defective": 246, "test/good": 894, "test/defective": 110}),
    "DAGM": (10, {"train": 8050, "test": 8050, "defective": 2100}),
    "ELPV": (2, {"all": 2624}),
}


def test_every_table_is_in_this_one():
    assert set(TOTALS) == set(published.__all__)


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    facts, (categories, cells) = getattr(published, name), TOTALS[name]
    total: Counter[str] = Counter()
    for counts in facts.counts.values():
        total.update(counts)
    assert len(facts.counts) == categories
    assert dict(total) == cells
    assert facts.home.startswith("https://")
    assert facts.licence

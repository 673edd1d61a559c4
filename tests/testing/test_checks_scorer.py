"""Deliberately wrong scorers, each caught by the check that is meant for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vlmad_core.builtin.memory import Memory
from vlmad_core.builtin.plugin import MemoryConfig, TextMatchConfig
from vlmad_core.builtin.text_match import TextMatch
from vlmad_core.contracts import Scores, softmax_similarity
from vlmad_core.errors import NotFittedError


class Wrong:
    """Does as the part behind it, and then what a test says."""

    def forward(self, features, text_embeddings, size):
        return self.after(super().forward(features, text_embeddings, size))


class UpsideDown(Wrong):
    def after(self, scores):
        return Scores(1 - scores.image, 1 - scores.anomaly_map)


class Words(Wrong, TextMatch):
    pass


class Bank(Wrong, Memory):
    pass


class WordsUpsideDown(UpsideDown, TextMatch):
    pass


class BankUpsideDown(UpsideDown, Memory):
    pass


class ScoresCells(Words):
    def after(self, scores):
        return replace(scores, map=scores.anomaly_map[:, :4, :4])


class NamesNoLevel(Words):
    def after(self, scores):
        return replace(scores, levels={"fused": scores.anomaly_map})


class RanksInTheBatch(Words):
    def after(self, scores):
        return replace(scores, image=scores.image - scores.image.min())


class GivesNothing(Words):
    def after(self, scores):
        return replace(scores, map=scores.anomaly_map.log() - scores.anomaly_map.log() + float("nan"))


class SecondStateIsAbnormal(TextMatch):
    def probability(self, vectors, text_embeddings):
        return softmax_similarity(vectors, text_embeddings.vectors, self.config.temperature)[..., 1]


class ScoresWithoutWords(TextMatch):
    def forward(self, features, text_embeddings, size):
        batch = len(features.levels[0].vectors)
        if text_embeddings is None:
            return Scores(torch.zeros(batch), torch.zeros(batch, *size))
        return super().forward(features, text_embeddings, size)


class StopsWithoutWords(TextMatch):
    def forward(self, features, text_embeddings, size):
        return super().forward(features, replace(text_embeddings), size)


class WritesToFeatures(TextMatch):
    def forward(self, features, text_embeddings, size):
        features.levels[0].vectors.mul_(1.5)
        return super().forward(features, text_embeddings, size)


class ZeroBeforeFit(Memory):
    def forward(self, features, text_embeddings, size):
        if not self.is_fitted:
            batch = len(features.levels[0].vectors)
            return Scores(torch.zeros(batch), torch.zeros(batch, *size))
        return super().forward(features, text_embeddings, size)


class StopsBeforeFit(Memory):
    def forward(self, features, text_embeddings, size):
        try:
            return super().forward(features, text_embeddings, size)
        except NotFittedError:
            raise IndexError("index out of range") from None


class SaysItIsFitted(Memory):
    is_fitted = True


class StartsAnew(Memory):
    def fit(self, features):
        super().forget()
        super().fit(features)


class NeverForgets(Memory):
    def forget(self):
        pass


class Poisons(Memory):
    def fit(self, features):
        super().fit(features)
        with torch.inference_mode():
            for name in self.chosen:
                setattr(self, f"bank_{name}", self.bank(name).clone())


class KeepsTheGraph(Memory):
    def fit(self, features):
        for name in self.chosen:
            rows = torch.nn.functional.normalize(features[name].vectors, dim=-1).flatten(0, 1)
            setattr(self, f"bank_{name}", torch.cat([self.bank(name), rows]))


class CutsGradients(Memory):
    def forward(self, features, text_embeddings, size):
        with torch.no_grad():
            return super().forward(features, text_embeddings, size)


class RemembersInAList(Memory):
    def __init__(self, config, levels, dim):
        super().__init__(config, levels, dim)
        self.lists = {name: torch.empty(0, self.bank(name).shape[1]) for name in self.chosen}
        for name in self.chosen:
            delattr(self, f"bank_{name}")

    def bank(self, name):
        return self.__dict__["lists"][name] if "lists" in self.__dict__ else super().bank(name)

    def fit(self, features):
        for name in self.chosen:
            rows = torch.nn.functional.normalize(features[name].vectors, dim=-1).flatten(0, 1)
            self.lists[name] = torch.cat([self.lists[name], rows.detach()])


class FixedBank(Memory):
    """Cannot load a bank of another length (trap 8 of every memory)."""

    def _load_from_state_dict(self, *given):
        torch.nn.Module._load_from_state_dict(self, *given)


WORDS = {
    WordsUpsideDown: "abnormal_scores_above_normal",
    ScoresCells: "scores_as_declared",
    NamesNoLevel: "scores_as_declared",
    RanksInTheBatch: "does_not_depend_on_its_batch",
    GivesNothing: "outputs_are_finite",
    SecondStateIsAbnormal: "accepts_several_states",
    ScoresWithoutWords: "refuses_to_run_without_text",
    StopsWithoutWords: "refuses_to_run_without_text",
    WritesToFeatures: "leaves_its_input_alone",
}
BANKS = {
    BankUpsideDown: "fitted_images_score_lowest",
    ZeroBeforeFit: "raises_before_it_is_fitted",
    StopsBeforeFit: "raises_before_it_is_fitted",
    SaysItIsFitted: "raises_before_it_is_fitted",
    StartsAnew: "fit_accumulates",
    NeverForgets: "forget_empties_the_memory",
    Poisons: "memory_allows_gradients",
    KeepsTheGraph: "memory_allows_gradients",
    CutsGradients: "memory_allows_gradients",
    RemembersInAList: "survives_a_round_trip",
    FixedBank: "survives_a_round_trip",
}


@pytest.mark.parametrize(("wrong", "meant"), WORDS.items(), ids=[wrong.__name__ for wrong in WORDS])
def test_wrong_words_are_caught_by_the_check_meant_for_them(broken, wrong, meant):
    assert meant in broken("scorer", wrong, TextMatchConfig, meant)


@pytest.mark.parametrize(("wrong", "meant"), BANKS.items(), ids=[wrong.__name__ for wrong in BANKS])
def test_wrong_memories_are_caught_by_the_check_meant_for_them(broken, wrong, meant):
    assert meant in broken("scorer", wrong, MemoryConfig, meant)


@pytest.mark.parametrize(("right", "config"), [(TextMatch, TextMatchConfig), (Memory, MemoryConfig)])
def test_the_parts_that_they_are_made_from_are_right(broken, right, config):
    assert broken("scorer", right, config) == {}

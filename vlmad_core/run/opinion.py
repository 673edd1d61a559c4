"""A second opinion on images that were decided: it adds a sentence and a vote to a result, and can change nothing else.

The detector decides. Whoever gives the second opinion (a multimodal language model, a person at another desk) receives
the decided image, and what it answers is stored beside the verdict, never in its place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from vlmad_core.contracts.data import Prediction
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.run.results import Result

__all__ = ["Case", "Opinion", "OpinionOutcome", "SecondOpinion", "add_opinions"]

OpinionOutcome: TypeAlias = Literal["defect", "no defect", "unparsable", "refused", "unreachable"]


@dataclass(frozen=True)
class Case:
    """One decided image.

    Args:
        result: With verdict, threshold and regions, as it will be stored.
        prediction: With the anomaly map.
        class_name: What the image shows, if it is known.
        reference: A normal image to compare with, if there is one.
        bits: Of the values in 16-bit grey files.
    """

    result: Result
    prediction: Prediction
    class_name: str | None = None
    reference: Path | None = None
    bits: int | str | None = None


@dataclass(frozen=True)
class Opinion:
    """What was answered about one image.

    Args:
        outcome: The vote ``defect`` or ``no defect``; or why there is none: ``unparsable`` (the answer is not of the
            form that was asked for), ``refused``, ``unreachable`` (no answer in time).
        sentence: For a person; empty where there is no vote.
        where: Place in the image, as answered.
        kind: Of defect, as answered.
        p_defect: Probability of the vote ``defect`` by the model's own numbers, in [0, 1]; None if it gives none.
        from_map: The sentence was made from the anomaly map, since the answered one contradicts that.
        detail: Why there is no vote, or what was replaced.
        milliseconds: Until the answer was there.
        tokens: That the endpoint counted for it; None if it does not say.
        cached: The answer to the very same question was stored before.
    """

    outcome: OpinionOutcome
    sentence: str = ""
    where: str = ""
    kind: str = ""
    p_defect: float | None = None
    from_map: bool = False
    detail: str = ""
    milliseconds: float | None = None
    tokens: int | None = None
    cached: bool = False

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class SecondOpinion(ABC):
    """Who gives it. What ``vlmad_opinions`` offers has such a class as its target: ``target(config)``.

    Attributes:
        asks_all: Also about images that pass; otherwise about all others alone.
    """

    asks_all: bool = False

    @property
    @abstractmethod
    def notice(self) -> str:
        """What leaves this machine, and where it goes, in sentences; shown before the first image is sent."""

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """What decides its answers, without secrets; compared when a run goes on."""

    def describe(self, images: Sequence[Path], question: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a question about a few images of one product, in the form of a JSON schema.

        Raises:
            ConfigError: It cannot describe images, or no answer of that form came.
        """
        raise ConfigError(f"{type(self).__name__} gives opinions and describes no images; use 'openai-compatible'.")

    @abstractmethod
    def ask(self, cases: Sequence[Case]) -> list[Opinion]:
        """An opinion on each case, in order; an answer that cannot be had is an outcome and no error."""


def add_opinions(
    batches: Iterable[list[tuple[Result, Prediction | None]]],
    second: SecondOpinion | None,
    *,
    class_name: str | None = None,
    reference: Path | None = None,
    bits: int | str | None = None,
) -> Iterator[list[tuple[Result, Prediction | None]]]:
    """The same batches with opinions; verdicts and scores stay as they are, whatever is answered.

    Args:
        batches: Decided.
        second: Who is asked; None: nobody.
        class_name: See :class:`Case`.
        reference: Likewise.
        bits: Likewise.
    """
    if second is None:
        yield from batches
        return
    for batch in batches:
        cases = {
            i: Case(result, prediction, class_name, reference, bits)
            for i, (result, prediction) in enumerate(batch)
            if prediction is not None and (second.asks_all or result.verdict != "pass")
        }
        opinions = dict(zip(cases, _asked(second, list(cases.values())), strict=True))
        yield [
            (replace(result, opinion=opinions[i].record()) if i in opinions else result, prediction)
            for i, (result, prediction) in enumerate(batch)
        ]


def _asked(second: SecondOpinion, cases: Sequence[Case]) -> list[Opinion]:
    """One opinion a case; whoever fails to give them costs no result."""
    if not cases:
        return []
    try:
        opinions = list(second.ask(cases))
    except VlmadError:
        raise
    except Exception as error:
        return [Opinion("unreachable", detail=f"{type(error).__name__}: {error}")] * len(cases)
    fits = len(opinions) == len(cases) and all(one.outcome in get_args(OpinionOutcome) for one in opinions)
    return opinions if fits else [Opinion("unparsable", detail="not one opinion for each image")] * len(cases)

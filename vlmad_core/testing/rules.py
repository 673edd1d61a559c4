"""What a check is: a named function that passes, or fails with a sentence that says what to do.

A check gets what it is about (a *case*, see :mod:`vlmad_core.testing.cases`). It names the kinds that it is for, and
what the part must have for it (*tags*). Its first line of documentation is the rule, as the docs print it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["CHECKS", "TAGS", "Check", "CheckFailed", "CheckSkipped", "check", "checks_of", "close", "require"]


class CheckFailed(AssertionError):
    """A rule is broken; the text says what was found and what to do."""


class CheckSkipped(Exception):
    """A rule that cannot be looked at here; the text says why."""


TAGS = {
    "learns": "it has nothing to learn",
    "memory": "it is not fitted on normal images (needs_fit is false)",
    "text scores": "it does not compare with text (needs_text is false)",
    "text": "it has no text",
    "joint": "its image and text features share no space",
    "class token": "it does not pool a class token",
    "example": "no example was given: root= in a test, --root on the command line",
    "distribution": "it belongs to no installed distribution",
}
"""What a part can have, and the reason to skip what needs it where it has not."""


@dataclass(frozen=True)
class Check:
    """One rule.

    Args:
        name: Of the function.
        kinds: Of entries that it holds for.
        needs: A tag, or none.
        function: Takes a case; may return a note, such as what it measured.
    """

    name: str
    kinds: tuple[str, ...]
    needs: str
    function: Callable[[Any], str | None]

    @property
    def rule(self) -> str:
        """The rule, in a sentence."""
        return (self.function.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


CHECKS: dict[str, Check] = {}
"""Every check by name, in the order in which they are run."""

_Function = TypeVar("_Function", bound=Callable[[Any], str | None])


def check(*kinds: str, needs: str = "") -> Callable[[_Function], _Function]:
    """Make a function a check of these kinds, for parts that have a tag."""

    def note(function: _Function) -> _Function:
        CHECKS[function.__name__] = Check(function.__name__, kinds, needs, function)
        return function

    return note


def checks_of(kind: str) -> Iterator[Check]:
    """The checks of one kind, in order."""
    return (found for found in CHECKS.values() if kind in found.kinds)


def require(holds: object, text: str) -> None:
    """Fail with a sentence unless it holds."""
    if not holds:
        raise CheckFailed(text)


def close(one: Any, other: Any, *, tolerance: float = 1e-4) -> bool:
    """Whether two tensors are the same but for rounding: ``tolerance`` of the larger one's size, elsewhere absolute."""
    if one.shape != other.shape:
        return False
    size = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
    return bool(((one - other).detach().abs() <= tolerance * size).all())

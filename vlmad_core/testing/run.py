"""Run the checks of an entry or a distribution: as a report, or as tests of pytest.

A check passes, fails with a sentence, or is skipped with a reason. A *known failure* is declared with a reason on the
target, ``known_failures = {"name_of_check": "reason"}``: it does not spoil the report, and fails once it passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.utils import canonicalize_name

from vlmad_core.errors import ConfigError, UnknownComponentError, did_you_mean
from vlmad_core.registry.registry import Entry, Registry, default_registry
from vlmad_core.testing.cases import BackboneCase, Case, DatasetCase, ExtractorCase, PromptsCase, RecipeCase, ScorerCase
from vlmad_core.testing.checks import CHECKS, TAGS, Check, CheckFailed, CheckSkipped, checks_of
from vlmad_core.testing.plugin_case import PluginCase

if TYPE_CHECKING:
    import pytest

__all__ = ["Outcome", "Report", "Subject", "check_component", "parametrize_checks", "subjects"]

_CASES: dict[str, type[Case]] = {
    "backbone": BackboneCase,
    "extractor": ExtractorCase,
    "prompts": PromptsCase,
    "scorer": ScorerCase,
    "recipe": RecipeCase,
    "dataset": DatasetCase,
}


@dataclass(frozen=True)
class Outcome:
    """What one check said.

    Args:
        subject: ``distribution``, or ``distribution:name``.
        kind: ``plugin``, or the kind of the entry.
        check: Its name.
        status: ``passed``, ``failed``, ``skipped`` or ``known``, a failure that was declared.
        message: What is wrong and what to do; why it was skipped; or what was measured.
        seconds: What it took.
    """

    subject: str
    kind: str
    check: str
    status: Literal["passed", "failed", "skipped", "known"]
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """What all checks said. ``ran`` counts those that passed, failed or are known to fail."""

    outcomes: tuple[Outcome, ...]

    def count(self, status: str) -> int:
        """How many have this status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def ran(self) -> int:
        """How many were not skipped."""
        return len(self.outcomes) - self.count("skipped")

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """Those that failed and were not declared."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        counts = {status: self.count(status) for status in ("passed", "failed", "known", "skipped")}
        return {"ran": self.ran, **counts, "checks": [asdict(outcome) for outcome in self.outcomes]}


class Subject:
    """An entry, or a distribution by itself (``entry`` None), whose checks can be run one by one."""

    def __init__(
        self, plugin: str, entry: Entry | None, registry: Registry, config: Mapping[str, Any], root: Path | None
    ) -> None:
        self.plugin, self.entry, self.registry, self.config, self.root = plugin, entry, registry, config, root
        self.kind = "plugin" if entry is None else entry.kind
        self.name = plugin if entry is None else entry.full_name
        self.checks: tuple[Check, ...] = tuple(checks_of(self.kind))
        self._backbone: BackboneCase | None = None

    def case(self) -> Any:
        """A new case; of a backbone always the same one, which may be large."""
        if self.entry is None:
            return PluginCase(self.plugin, self.registry)
        if self.kind != "backbone":
            return _CASES[self.kind](self.entry, self.registry, self.config, self.root)
        self._backbone = self._backbone or BackboneCase(self.entry, self.registry, self.config)
        return self._backbone

    @property
    def known_failures(self) -> Mapping[str, str]:
        """What its target declares; empty where that cannot be imported."""
        if self.entry is None or self.kind == "recipe":
            return {}
        try:
            return dict(getattr(self.entry.load(), "known_failures", {}))
        except UnknownComponentError:
            return {}

    def apply(self, check: Check) -> str:
        """Run one check by itself.

        Returns:
            What it measured, or nothing.

        Raises:
            CheckFailed: The rule is broken.
            CheckSkipped: It cannot be looked at here.
        """
        case = self.case()
        try:
            if check.needs and check.needs not in case.tags:
                raise CheckSkipped(TAGS[check.needs] + ".")
            return check.function(case) or ""
        except (CheckFailed, CheckSkipped):
            raise
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".") or "no text"
            raise CheckFailed(
                f"it stopped with {type(error).__name__}: {reason}. Make it hold that {_lower(check.rule)}"
            ) from error

    def run(self) -> Iterator[Outcome]:
        """Every check."""
        known = self.known_failures
        for name in known.keys() - {check.name for check in checks_of(self.kind)}:
            hint = did_you_mean(name, CHECKS)
            text = f"known_failures names '{name}', which is no check of this kind.{hint} Correct or remove it."
            yield Outcome(self.name, self.kind, name, "failed", text)
        for check in self.checks:
            started = time.perf_counter()
            status: Any = "passed"
            try:
                message = self.apply(check)
                if check.name in known:
                    status, message = "failed", _PASSES_NOW.format(check=check.name)
            except CheckSkipped as error:
                status, message = "skipped", str(error)
            except CheckFailed as error:
                status, message = "failed", str(error)
                if check.name in known:
                    status, message = "known", f"{known[check.name]} ({error})"
            yield Outcome(self.name, self.kind, check.name, status, message, time.perf_counter() - started)


_PASSES_NOW = "it passes now; remove '{check}' from known_failures."


def subjects(
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    root: str | Path | None = None,
    registry: Registry | None = None,
) -> list[Subject]:
    """What a name stands for: a distribution with all it offers, or one entry with its distribution.

    Args:
        name: ``"vlmad-winclip"``, ``"vlmad-winclip:windows"``, or a short name.
        config: Options in place of the defaults, for a single part.
        root: An example, for a data set.
        registry: Where to look; the installed plugins by default.

    Raises:
        UnknownComponentError: Nothing is called so.
        ConfigError: Options for more than one part.
    """
    registry = registry or default_registry()
    folder = None if root is None else Path(root)
    plugins = {plugin.name for plugin in registry.plugins if plugin.status != "disabled"}
    if canonicalize_name(name) in plugins:
        plugin: str = canonicalize_name(name)
        entries = [entry for entry in registry.entries() if entry.plugin == plugin]
    else:
        entries = registry.find(name)
        if not entries:
            known = {*plugins, *(entry.name for entry in registry.entries())}
            problems = "".join(f"\n  {problem}" for problem in registry.problems)
            raise UnknownComponentError(
                f"nothing is called '{name}'.{did_you_mean(name, known)} `vlmad list` shows what there is.{problems}"
            )
        plugin = entries[0].plugin
        if len({entry.plugin for entry in entries}) > 1:
            names = ", ".join(entry.full_name for entry in entries)
            raise UnknownComponentError(f"'{name}' is offered by more than one plugin; say which: {names}.")
    takers = [entry for entry in entries if entry.kind != "recipe"]
    if config and len(takers) != 1:
        names = ", ".join(entry.full_name for entry in takers) or "none"
        raise ConfigError(f"options are for one part, and '{name}' has several: {names}. Name one of them.")
    return [
        Subject(plugin, None, registry, {}, None),
        *(Subject(plugin, entry, registry, config or {} if entry in takers else {}, folder) for entry in entries),
    ]


def check_component(
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    root: str | Path | None = None,
    registry: Registry | None = None,
    tell: Callable[[Outcome], None] | None = None,
) -> Report:
    """Run every check of a distribution or a part; see :func:`subjects` for the arguments and what is raised.

    Args:
        name: Of a distribution or a part.
        config: Options in place of the defaults.
        root: An example, for a data set.
        registry: Where to look.
        tell: Called after each check.
    """
    outcomes = []
    for subject in subjects(name, config=config, root=root, registry=registry):
        for outcome in subject.run():
            outcomes.append(outcome)
            if tell is not None:
                tell(outcome)
    return Report(tuple(outcomes))


def parametrize_checks(
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    root: str | Path | None = None,
    registry: Registry | None = None,
) -> pytest.MarkDecorator:
    """One test for each check; the test takes ``check`` and calls it.

    Args:
        name: ``"distribution"``, ``"distribution:name"`` or a short name.
        config: Options in place of the defaults.
        root: An example, for a data set.
        registry: Where to look; the installed plugins by default.

    >>> @parametrize_checks("vlmad-core:memory")
    ... def test_contract(check):
    ...     check()
    """
    import pytest

    cases = [
        pytest.param(_Test(subject, check), id=f"{subject.name}-{check.name}")
        for subject in subjects(name, config=config, root=root, registry=registry)
        for check in subject.checks
    ]
    return pytest.mark.parametrize("check", cases)


class _Test:
    """A check as a test: skipped or expected to fail in pytest's words."""

    def __init__(self, subject: Subject, check: Check) -> None:
        self.subject, self.check = subject, check

    def __call__(self) -> None:
        import pytest

        reason = self.subject.known_failures.get(self.check.name)
        try:
            self.subject.apply(self.check)
        except CheckSkipped as error:
            pytest.skip(str(error))
        except CheckFailed:
            if reason is None:
                raise
            pytest.xfail(reason)
        if reason is not None:
            raise CheckFailed(_PASSES_NOW.format(check=self.check.name))


def _lower(rule: str) -> str:
    return rule[:1].lower() + rule[1:] if rule[:1].isalpha() else rule

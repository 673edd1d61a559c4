"""Run a study: plan it, then one step after the other, each of which passes over what is done; last, the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.benchmark.cells import Cell, find_cells
from vlmad_core.benchmark.plan import Source
from vlmad_core.benchmark.run import BenchmarkProgress, run_benchmark
from vlmad_core.registry.registry import Registry, default_registry
from vlmad_core.registry.validate import validate
from vlmad_core.report.rows import read_rows
from vlmad_core.version import __version__
from vlmad_study.advice import advise, main_methods
from vlmad_study.efficiency import measured, representatives, time_all
from vlmad_study.facts import Facts, told_apart
from vlmad_study.gallery import draw_gallery
from vlmad_study.learn import Lesson, lessons, teach
from vlmad_study.leave_out import leave_one_out
from vlmad_study.record import StudyFolder, check_rows
from vlmad_study.report import StudyReport, write_report
from vlmad_study.sections import Learned, Planned, plan_section
from vlmad_study.settings import SECTIONS, Scope, StudySettings

__all__ = ["Step", "StudyProgress", "plan_study", "study"]


@dataclass(frozen=True)
class Step:
    """A part of the work.

    Args:
        name: Of a section, or what is done.
        seconds: About how long it takes here.
        cells: Rows of a benchmark; 0 for what is none.
        left_out: Sentences.
    """

    name: str
    seconds: float
    cells: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyProgress:
    """How far it is.

    Args:
        done: Seconds of the estimate that are behind.
        total: Seconds of the estimate.
        left: Seconds that are left at the pace so far.
        what: What goes on now, in words.
    """

    done: float
    total: float
    left: float
    what: str


def study(
    data: StudySettings | Source | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    progress: Callable[[StudyProgress], None] | None = None,
    tell: Callable[[str], None] | None = None,
    registry: Registry | None = None,
    **settings: Any,
) -> StudyReport:
    """Compare features, alignments, prompts, numbers of normal images, costs and domains, and write a report.

    The same call after a stop, whatever stopped it, goes on.

    Args:
        data: Folder of a data set, or all settings.
        out: Folder for the report and everything it is made of.
        progress: Called as it goes.
        tell: Called with sentences worth knowing.
        registry: Where to look for parts.
        settings: Of :class:`~vlmad_study.settings.StudySettings`, such as ``other="data/cookies"``.

    Raises:
        ConfigError: Settings that do not do, or ``out`` holds another study.
        UnknownComponentError: A name that nobody offers.
        KeyboardInterrupt: Ctrl-C; what is done is safe.

    >>> vlmad_study.study("data/piped", out="study/piped").recommended  # doctest: +SKIP
    """
    registry, tell = registry or default_registry(), tell or (lambda text: None)
    asked = told_apart(_settings(data, settings), registry)
    with StudyFolder(Path(out), asked) as folder:
        run = _Run(asked, folder, registry, progress or (lambda now: None), tell)
        return run.all()


def plan_study(
    data: StudySettings | Source | Mapping[str, Any] | str | Path,
    *,
    progress: Callable[[str], None] | None = None,
    registry: Registry | None = None,
    **settings: Any,
) -> tuple[Scope, list[Step]]:
    """What a study would do and for how long; nothing is written.

    Raises:
        As :func:`study`.
    """
    registry = registry or default_registry()
    asked = told_apart(_settings(data, settings), registry)
    facts = Facts.find(asked, registry)
    scope = facts.scope(asked, registry, progress or (lambda what: None))
    return scope, _steps(asked, facts, scope, registry)


def _settings(data: Any, settings: Mapping[str, Any]) -> StudySettings:
    if isinstance(data, StudySettings):
        return validate(StudySettings, {**data.model_dump(), **settings}, "study", "a study")
    said = dict(data) if isinstance(data, Mapping) else {"data": data}
    return validate(StudySettings, {**said, **settings}, "study", "a study")


def _steps(asked: StudySettings, facts: Facts, scope: Scope, registry: Registry) -> list[Step]:
    steps = [Step("learn", scope.seconds["learn"])] if scope.seconds.get("learn") else []
    for name in _ORDER:
        if name in asked.sections and name != "efficiency":
            planned = plan_section(name, asked, scope, facts.eyes, registry, words=facts.words)
            alone = name == "cross-domain"  # its methods are not there before they are trained
            cells = 0 if alone else sum(len(find_cells(plan, registry)) for plan in planned.plans)
            steps.append(Step(name, scope.seconds.get(name, 0.0), cells, planned.left_out))
    steps += [
        Step(name, scope.seconds[name])
        for name in ("leave-one-out", "efficiency", "gallery")
        if scope.seconds.get(name)
    ]
    return steps


_ORDER = ("shots", "features", "alignment", "prompts", "cross-domain", "efficiency")
"""Of running: the methods that everything else is held against come first."""
assert set(_ORDER) == set(SECTIONS)


class _Run:
    """One call of :func:`study`."""

    def __init__(
        self,
        asked: StudySettings,
        folder: StudyFolder,
        registry: Registry,
        progress: Callable[[StudyProgress], None],
        tell: Callable[[str], None],
    ) -> None:
        self.asked, self.folder, self.registry, self.progress, self.tell = asked, folder, registry, progress, tell
        self.left_out: dict[str, list[str]] = {}
        self.planned: dict[str, Planned] = {}
        self.behind, self.total, self.started = 0.0, 1.0, time.perf_counter()
        self.worked, self.passed = 0.0, 0.0  # of the estimate and of the clock, without what was done before
        self.since = self.started

    def all(self) -> StudyReport:
        """Every step."""
        self._say("looking at data and backbone")
        facts = Facts.find(self.asked, self.registry)
        scope = self.folder.scope
        if scope is None:
            scope = facts.scope(self.asked, self.registry, self._say)
            self.folder.keep_scope(scope)
        self.folder.note(backbone=dict(facts.eyes.provenance), vlmad=__version__)
        self.total = sum(scope.seconds.values()) + 10
        self.tell(self._told(scope))
        self.started = self.since = time.perf_counter()
        learned = self._learn(facts, scope)
        for name in _ORDER:
            if name != "efficiency" and (name in self.asked.sections or name == "shots"):
                self._section(name, facts, scope, learned)
        self._own_steps(facts, scope)
        self._say("writing the report")
        self.folder.touch()
        report = write_report(self.folder.path, self.asked, scope, facts.eyes, self.left_out, self.folder.record)
        self._step_done("report", 10)
        return report

    def _learn(self, facts: Facts, scope: Scope) -> list[Learned]:
        if not {"alignment", "prompts", "cross-domain", "shots"} & set(self.asked.sections):
            return []
        todo, left = lessons(scope.pictures, facts.sources, facts.eyes, self.folder.path / "trained", self.registry)
        self.left_out["alignment"] = list(left)
        each = scope.seconds.get("learn", 0.0) / max(1, len(todo))
        for lesson in todo:
            self._teach(lesson, facts, each)
        return [lesson.learned for lesson in todo]

    def _teach(self, lesson: Lesson, facts: Facts, seconds: float) -> None:
        what = f"training {lesson.learned.kind} on {lesson.learned.name}"
        self._say(what)
        show = lambda done, total: self._say(f"{what}: {done} of {total}", seconds * done / max(1, total))  # noqa: E731
        teach(lesson, facts.eyes, self.asked.epochs, self.registry, show)
        self._step_done(what, seconds)

    def _section(self, name: str, facts: Facts, scope: Scope, learned: Sequence[Learned]) -> None:
        words = {**facts.words, **facts.other} if name == "cross-domain" else facts.words
        planned = plan_section(name, self.asked, scope, facts.eyes, self.registry, learned=learned, words=words)
        self.planned[name] = planned
        self.left_out.setdefault(name, []).extend(planned.left_out)
        if name not in self.asked.sections:
            return
        check_rows(
            self.folder.path / name,
            [cell.key for plan in planned.plans for cell in find_cells(plan, self.registry)],
        )
        seconds = scope.seconds.get(name, 0.0) / max(1, len(planned.plans))
        for plan in planned.plans:

            def show(now: BenchmarkProgress) -> None:
                self._say(f"{name}: {now.message}", seconds * now.done / max(1, now.cells))

            results = run_benchmark(
                plan, self.folder.path / name, extend=True, progress=show, on_message=self.tell, registry=self.registry
            )
            for error in dict.fromkeys(row["error"] for row in results.failed):
                self.left_out[name].append(f"A run failed: {error}")
            self._step_done(name, seconds, quiet=plan is not planned.plans[-1])

    def _own_steps(self, facts: Facts, scope: Scope) -> None:
        out, eyes = self.folder.path, facts.eyes
        cells = [cell for plan in self.planned["shots"].plans for cell in find_cells(plan, self.registry)]
        if "prompts" in self.asked.sections and eyes.reads:
            if eyes.states and self.planned["prompts"].plans:
                judged = _categories(find_cells(self.planned["prompts"].plans[0], self.registry))
                show = self._shower("leave-one-out", scope)
                leave_one_out(eyes, judged, out / "prompts" / "leave-one-out.json", self.registry, show)
                self._step_done("leave-one-out", scope.seconds.get("leave-one-out", 0.0))
            else:
                self.left_out["prompts"].append("States and templates left out one by one: these prompts have none.")
        wanted = (0, scope.reference)
        if "efficiency" in self.asked.sections:
            time_all(
                representatives(cells, wanted), out / "efficiency", self.registry, self._shower("efficiency", scope)
            )
            self._step_done("efficiency", scope.seconds.get("efficiency", 0.0))
        if "shots" in self.asked.sections:
            advice = advise(out / "shots", read_rows(out / "shots"), measured(out / "efficiency"), scope.reference)
            shown = {(one.method, one.shots) for one in main_methods(advice)} if advice is not None else set()
            first = [c for c in cells if (c.method, c.shots) in shown and c.status == "waiting" and c.seed == 0]
            folder = out / "pictures" / "gallery"
            draw_gallery(first, out / "shots" / "scores", folder, self.registry, self._shower("gallery", scope))
            self._step_done("gallery", scope.seconds.get("gallery", 0.0))

    def _shower(self, name: str, scope: Scope) -> Callable[[int, int], None]:
        seconds = scope.seconds.get(name, 0.0)
        return lambda done, total: self._say(f"{name}: {done} of {total}", seconds * done / max(1, total))

    def _say(self, what: str, within: float = 0.0) -> None:
        self.progress(StudyProgress(self.behind + within, self.total, self._left(within), what))

    def _left(self, within: float = 0.0) -> float:
        worked, passed = self.worked + within, self.passed + time.perf_counter() - self.since
        pace = passed / worked if worked > 0.03 * self.total else 1.0
        return pace * max(0.0, self.total - self.behind - within)

    def _step_done(self, name: str, seconds: float, *, quiet: bool = False) -> None:
        now = time.perf_counter()
        anew = now - self.since > 0.02 * seconds  # what was done before takes no time, and says nothing of the pace
        if anew:
            self.worked += seconds
            self.passed += now - self.since
        self.behind, self.since = self.behind + seconds, now
        self.folder.touch()
        if not quiet and name != "report":
            passed, left = _time(now - self.started), _time(self._left())
            self.tell(f"{name}: {'done' if anew else 'was there'}, {passed} after the start; about {left} left.")

    def _told(self, scope: Scope) -> str:
        parts = ", ".join(f"{name} {_time(seconds)}" for name, seconds in scope.seconds.items() if seconds)
        reduced = f" {scope.reduced}" if scope.reduced else ""
        return f"about {_time(self.total)} in all, less what is done already: {parts}.{reduced}"


def _categories(cells: Sequence[Cell]) -> list[Any]:
    return list({id(cell.category): cell.category for cell in cells}.values())


def _time(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"

"""Run a study within its time limit: the recommendation first, then one section after the other, then the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.benchmark import Cell, Progress, Source, find_cells, run_benchmark
from vlmad_core.pipeline import assemble
from vlmad_core.registry import Registry, default_registry, validate
from vlmad_core.report import ROWS, read_rows
from vlmad_core.version import __version__
from vlmad_study.ablation import ablate_prompts
from vlmad_study.backbone import BackboneInfo, inspect_backbone
from vlmad_study.cost import Estimate, estimate_cells, first_cells, measure_costs
from vlmad_study.data import StudyData, read_data, with_distinct_names
from vlmad_study.folder import StudyFolder, check_rows, drop_partial_rows
from vlmad_study.gallery import draw_gallery
from vlmad_study.recommendation import main_methods, recommend
from vlmad_study.report.content import StudyReport
from vlmad_study.report.write import write_report
from vlmad_study.sections import PlannedSection, TrainedMethod, plan_section
from vlmad_study.settings import Scope, StudySettings
from vlmad_study.time_limit import FEWEST, TimeIsUpError, TimeLimit, drop_slowest, fit, minutes
from vlmad_study.training_jobs import TrainingJob, plan_training, run_training

__all__ = ["Step", "StudyProgress", "plan_study", "study"]

_SHARES = {"train": 0.3, "shots": 0.55}
"""Most of the time that is left which a step may take; every other one gets an equal share of the rest."""
_TRAIN_COST = 4.0
"""Work of an image that is trained on, in images that are scored: features of two towers, then many steps."""


@dataclass(frozen=True)
class Step:
    """A part of the work.

    Args:
        name: A section, or what is done.
        seconds: About how long it takes here.
        rows: Rows of a benchmark; 0 where it is none.
        left_out: Sentences.
    """

    name: str
    seconds: float
    rows: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyProgress:
    """How far it is.

    Args:
        passed: Seconds since the start.
        limit: Seconds that the call may take.
        what: What happens now.
    """

    passed: float
    limit: float
    what: str


def study(
    data: StudySettings | Source | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    progress: Callable[[StudyProgress], None] | None = None,
    on_message: Callable[[str], None] | None = None,
    registry: Registry | None = None,
    **settings: Any,
) -> StudyReport:
    """Compare features, alignments, prompts, numbers of normal images, costs and domains, and write a report.

    The same call after a stop, whatever stopped it, goes on; with more ``minutes`` it completes what was cut.

    Args:
        data: Folder of a data set, or all settings.
        out: Folder for the report and everything that it is made of.
        progress: Called as it goes.
        on_message: Called with sentences worth knowing.
        registry: Where to look for parts.
        settings: Of :class:`~vlmad_study.settings.StudySettings`, such as ``other="data/cookies"``.

    Raises:
        ConfigError: Wrong settings, or ``out`` holds another study.
        UnknownComponentError: A name that no plugin offers.
        KeyboardInterrupt: Ctrl-C; what is done is safe.

    >>> study("data/piped", out="study/piped").recommended  # doctest: +SKIP
    """
    registry = registry or default_registry()
    chosen = _settings(data, settings)
    limit = TimeLimit(60 * chosen.minutes)
    chosen = with_distinct_names(chosen, registry)
    with StudyFolder(Path(out), chosen) as folder:
        notify = progress or (lambda now: None)
        return _Run(chosen, folder, registry, limit, notify, on_message or (lambda text: None)).run()


def plan_study(
    data: StudySettings | Source | Mapping[str, Any] | str | Path,
    *,
    progress: Callable[[str], None] | None = None,
    registry: Registry | None = None,
    **settings: Any,
) -> tuple[Scope, list[Step]]:
    """What a study would do and how long it would take; nothing is written.

    Raises:
        As :func:`study`.
    """
    registry, notify = registry or default_registry(), progress or (lambda what: None)
    chosen = with_distinct_names(_settings(data, settings), registry)
    found, info = read_data(chosen, registry), inspect_backbone(chosen.backbone, registry)
    scope = _first_scope(chosen, found)
    room, steps, cuts = 60 * chosen.minutes, list[Step](), dict[str, str]()
    names = [name for name in _STEPS if _has_step(name, chosen, found, info)]
    for place, name in enumerate(names):
        if name not in _BENCHMARKS or name == "cross-domain":  # cross-domain: its methods are not trained yet
            continue
        notify(f"trying {name}")
        planned = plan_section(name, chosen, scope, info, registry, class_names=found.class_names)
        seconds = estimate_cells(_cells(planned, registry), registry, lambda: None).seconds
        share = room * _SHARES.get(name, 1 / (len(names) - place)) if len(names) > 1 else room
        seeds = scope.seeds if name == "shots" else 1
        fits = fit(seconds, share, found.most_of_a_label(), limit=chosen.max_images, seeds=seeds)
        scope = _with_fit(scope, name, fits.max_images, fits.seeds)
        if fits.cut:
            cuts[name] = f"{name}: {fits.cut}."
        if fits.seconds > 1.5 * share and name != "shots":
            cuts[name] = f"{name}: left out; it needs about {minutes(fits.seconds)}."
            continue
        planned = plan_section(name, chosen, scope, info, registry, class_names=found.class_names)
        steps.append(Step(name, fits.seconds, len(_cells(planned, registry)), tuple(planned.left_out)))
        room -= fits.seconds
    return scope.model_copy(update={"cuts": cuts}), steps


_STEPS = ("train", "shots", "examples", "efficiency", "features", "prompts", "ablation", "cross-domain")
"""In the order of running: what the recommendation is made of comes first."""
_BENCHMARKS = ("shots", "features", "prompts", "cross-domain")


def _has_step(name: str, settings: StudySettings, data: StudyData, info: BackboneInfo) -> bool:
    sections = set(settings.sections)
    if name == "train":
        return bool(data.sources) and info.has_text and bool(sections - {"features"})
    needs = {"shots": {"shots", "alignment", "efficiency"}, "examples": {"shots"}, "ablation": {"prompts"}}
    if name == "ablation" and info.ensemble is None:
        return False
    return bool(needs.get(name, {name}) & sections)


def _cells(planned: PlannedSection, registry: Registry) -> list[Cell]:
    return [cell for plan in planned.plans for cell in find_cells(plan, registry)]


def _settings(data: Any, settings: Mapping[str, Any]) -> StudySettings:
    if isinstance(data, StudySettings):
        given: dict[str, Any] = data.model_dump()
    else:
        given = dict(data) if isinstance(data, Mapping) else {"data": data}
    return validate(StudySettings, {**given, **settings}, "study", "a study")


def _first_scope(settings: StudySettings, data: StudyData) -> Scope:
    shots = tuple(number for number in settings.shots if number <= data.fewest_normals())
    return Scope(shots=shots, seeds=settings.seeds, train_images=settings.train_images)


def _with_fit(scope: Scope, name: str, max_images: int | None, seeds: int) -> Scope:
    changes: dict[str, Any] = {"max_images": {**scope.max_images, name: max_images}}
    return scope.model_copy(update=changes | ({"seeds": seeds} if name == "shots" else {}))


class _Run:
    """One call of :func:`study`."""

    def __init__(
        self,
        settings: StudySettings,
        folder: StudyFolder,
        registry: Registry,
        limit: TimeLimit,
        progress: Callable[[StudyProgress], None],
        on_message: Callable[[str], None],
    ) -> None:
        self.settings, self.folder, self.registry, self.limit = settings, folder, registry, limit
        self.progress, self.on_message = progress, on_message
        self.left_out: dict[str, list[str]] = {}
        self.planned: dict[str, PlannedSection] = {}
        self.trained: list[TrainedMethod] = []
        self.pace = 1.0  # measured over estimated seconds
        self._notify("reading data and backbone")
        self.data = read_data(settings, registry)
        self.info = inspect_backbone(settings.backbone, registry)
        self.scope = folder.scope or folder.save_scope(_first_scope(settings, self.data))
        folder.save_facts(backbone=dict(self.info.provenance), vlmad=__version__)

    def run(self) -> StudyReport:
        """Every step, each within its share of the time, and the report in any case."""
        names = [name for name in _STEPS if _has_step(name, self.settings, self.data, self.info)]
        for place, name in enumerate(names):
            share = _SHARES.get(name, 1 / (len(names) - place)) if len(names) > 1 else 1.0
            self.limit.start_step(max(0.0, self.limit.left * min(1.0, 1.5 * share)))
            started = time.perf_counter()
            self._cut(f"{name}, time", "")
            if self.limit.left < 0 and name != "shots":
                self._cut(f"{name}, time", f"{name}: left out for lack of time.")
                continue
            try:
                self._step(name, max(0.0, self.limit.left) * share)
            except TimeIsUpError:
                self._cut(f"{name}, time", f"{name}: stopped when its time was over; more --minutes complete it.")
                drop_partial_rows(self.folder.path / name)
            self.folder.save_time()
            seconds, passed = minutes(time.perf_counter() - started), minutes(self.limit.passed)
            cuts = [sentence for key, sentence in self.scope.cuts.items() if key.partition(",")[0] == name]
            self.on_message(" ".join([f"{name}: {seconds}; {passed} of {minutes(self.limit.seconds)} passed.", *cuts]))
        self._notify("writing the report")
        report = write_report(
            self.folder.path,
            self.settings,
            self.scope,
            self.info,
            self.planned,
            self.left_out,
            self.folder.record,
            self.registry,
        )
        self.folder.save_time()
        return report

    def _step(self, name: str, room: float) -> None:
        if name == "train":
            self._train(room)
        elif name in _BENCHMARKS:
            self._section(name, room)
        elif name == "examples":
            self._examples()
        elif name == "efficiency":
            cells = self._shots_cells()
            order = {(one.method, one.shots): place for place, one in enumerate(self._main_methods())}
            chosen = first_cells(cells, (0, self.scope.reference))
            chosen.sort(key=lambda cell: order.get((cell.method, cell.shots), len(order)))
            measure_costs(chosen, self.folder.path / "efficiency", self.registry, self._counter("costs"))
        elif self.planned["prompts"].plans and self._has_rows("prompts"):
            cells = find_cells(self.planned["prompts"].plans[0], self.registry)
            categories = list({id(cell.category): cell.category for cell in cells}.values())
            path = self.folder.path / "prompts" / "ablation.json"
            ablate_prompts(self.info, categories, path, self.registry, self._counter("states and templates"))

    def _train(self, room: float) -> None:
        out = self.folder.path / "trained"
        jobs, left = plan_training(self.scope.train_images, self.data.sources, self.info, out, self.registry)
        self.left_out["alignment"] = list(left)
        if jobs and not any(job.result.folder.exists() for job in jobs) and "train" not in self.scope.max_images:
            each = self._seconds_per_image(jobs[0]) * _TRAIN_COST * len(jobs)
            count = min(self.scope.train_images, max(3 * FEWEST, int(room / max(each, 1e-9))))
            cuts = dict(self.scope.cuts)
            if count < self.scope.train_images:
                cuts["train"] = f"train: each training uses at most {count} images, of up to {self.scope.train_images}."
            changes = {"train_images": count, "cuts": cuts, "max_images": {**self.scope.max_images, "train": count}}
            self.scope = self.folder.save_scope(self.scope.model_copy(update=changes))
            jobs, _ = plan_training(count, self.data.sources, self.info, out, self.registry)
        for job in jobs:
            what = f"training {job.result.label}"
            self._notify(what)
            run_training(job, self.info, self.settings.epochs, self.registry, self._counter(what))
            self.trained.append(job.result)

    def _seconds_per_image(self, job: TrainingJob) -> float:
        assert self.info.zero_shot is not None
        pipeline = assemble(self.info.zero_shot, backbone=self.info.model, registry=self.registry)
        images = [sample.image for sample in job.data.samples[:3]]
        pipeline.predict(images[0], "object")
        started = time.perf_counter()
        pipeline.predict(images, "object")
        return (time.perf_counter() - started) / len(images)

    def _section(self, name: str, room: float) -> None:
        """Estimate, choose how much fits, run, and learn from how long it really took."""
        planned = self._plan(name)
        fits = None
        if planned.plans and name not in self.scope.max_images:
            self._notify(f"trying {name}")
            found = estimate_cells(_cells(planned, self.registry), self.registry, self.limit.check)
            seconds = self.pace * found.seconds
            limit = self.settings.max_images
            seeds = self.scope.seeds if name == "shots" else 1
            fits = fit(seconds, room, self.data.most_of_a_label(), limit=limit, seeds=seeds)
            if fits.seconds > 1.5 * room and name != "shots":
                self._cut(f"{name}, time", f"{name}: left out for lack of time; it needs {minutes(fits.seconds)}.")
                return
            if fits.seconds > room and name == "shots":
                self._drop_slowest(found, room / fits.seconds)
            self.scope = _with_fit(self.scope, name, fits.max_images, fits.seeds)
            self.scope = self.folder.save_scope(self.scope)
            self._cut(name, f"{name}: {fits.cut}." if fits.cut else "")
            planned = self._plan(name)
        cells = _cells(planned, self.registry)
        check_rows(self.folder.path / name, [cell.key for cell in cells])
        started, before = time.perf_counter(), self._count_rows(name)
        for plan in planned.plans:

            def show(now: Progress) -> None:
                self.limit.check()
                self._notify(f"{name}: {now.what}")

            results = run_benchmark(
                plan,
                self.folder.path / name,
                extend=True,
                tables=False,
                progress=show,
                tell=self.on_message,
                registry=self.registry,
            )
            for error in dict.fromkeys(row["error"] for row in results.failed):
                planned.leave_out(f"A run failed: {error}")
        if fits is not None and not before and fits.seconds > 1:
            self.pace *= max(0.2, min(5.0, (time.perf_counter() - started) / fits.seconds))

    def _drop_slowest(self, found: Estimate, share: float) -> None:
        """Leave out methods whose features take longest, since a few images of all methods would show nothing."""
        dropped = tuple(method for methods in drop_slowest(found.features, share) for method in methods)
        if dropped:
            self.scope = self.folder.save_scope(self.scope.model_copy(update={"dropped": dropped}))
            self._cut("shots, methods", f"shots: left out for lack of time: {', '.join(dropped)}.")

    def _plan(self, name: str) -> PlannedSection:
        names = self.data.class_names
        names = {**names, **self.data.other_class_names} if name == "cross-domain" else names
        planned = plan_section(
            name, self.settings, self.scope, self.info, self.registry, trained=self.trained, class_names=names
        )
        self.planned[name] = planned
        self.left_out[name] = planned.left_out
        return planned

    def _examples(self) -> None:
        main = {(one.method, one.shots) for one in self._main_methods()}
        cells = [c for c in self._shots_cells() if (c.method, c.shots) in main and c.status == "waiting" and not c.seed]
        folder = self.folder.path / "images" / "examples"
        draw_gallery(cells, self.folder.path / "shots" / "scores", folder, self.registry, self._counter("examples"))

    def _main_methods(self) -> Sequence[Any]:
        if not self._has_rows("shots"):
            return ()
        shots = self.folder.path / "shots"
        found = recommend(shots, read_rows(shots), [], self.scope.reference)
        return () if found is None else main_methods(found)

    def _shots_cells(self) -> list[Cell]:
        return _cells(self.planned["shots"], self.registry)

    def _has_rows(self, name: str) -> bool:
        return (self.folder.path / name / ROWS).exists()

    def _count_rows(self, name: str) -> int:
        return len(read_rows(self.folder.path / name)) if self._has_rows(name) else 0

    def _cut(self, name: str, sentence: str) -> None:
        cuts = {key: value for key, value in self.scope.cuts.items() if key != name}
        if sentence:
            cuts[name] = sentence
        if cuts != self.scope.cuts:
            self.scope = self.folder.save_scope(self.scope.model_copy(update={"cuts": cuts}))

    def _counter(self, what: str) -> Callable[[int, int], None]:
        def show(done: int, total: int) -> None:
            self.limit.check()
            self._notify(f"{what}: {done} of {total}")

        return show

    def _notify(self, what: str) -> None:
        self.progress(StudyProgress(self.limit.passed, self.limit.seconds, what))

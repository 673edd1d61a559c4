"""Run a study within its time limit: the recommendation first, then one section after the other, then the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.benchmark import BenchmarkProgress, Cell, Source, find_cells, run_benchmark
from vlmad_core.pipeline import assemble
from vlmad_core.registry import Registry, default_registry
from vlmad_core.report import ROWS, read_rows
from vlmad_core.version import __version__
from vlmad_study.ablation import ablate_prompts
from vlmad_study.cost import first_cells, measure_costs, time_cells
from vlmad_study.data import read_data, with_distinct_names
from vlmad_study.folder import StudyFolder, check_rows, drop_partial_rows
from vlmad_study.gallery import draw_gallery
from vlmad_study.planning import BENCHMARKS, Planner, backbone_of, cells_of, first_scope, share, steps_of, to_settings
from vlmad_study.ranking import Ranked
from vlmad_study.recommendation import main_methods, recommend
from vlmad_study.report.content import StudyReport
from vlmad_study.report.write import write_report
from vlmad_study.sections import PlannedSection
from vlmad_study.settings import StudySettings
from vlmad_study.time_limit import FEWEST, TimeIsUpError, TimeLimit, minutes
from vlmad_study.training_jobs import TrainingJob, plan_training, run_training

__all__ = ["StudyProgress", "study"]

_TRAIN_COST = 4.0
"""Work of an image that is trained on, in images that are scored: features of two towers, then many steps."""


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
    chosen = to_settings(data, settings)
    limit = TimeLimit(60 * chosen.minutes)
    chosen = with_distinct_names(chosen, registry)
    with StudyFolder(Path(out), chosen) as folder:
        notify = progress or (lambda now: None)
        return _Run(chosen, folder, registry, limit, notify, on_message or (lambda text: None)).run()


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
        self.pace = 1.0  # measured over estimated seconds
        self._notify("reading data and backbone")
        data, info = read_data(settings, registry), backbone_of(settings, registry)
        self.planner = Planner(settings, data, info, registry)
        self.scope = folder.scope or folder.save_scope(first_scope(settings, data))
        folder.save_facts(backbone=dict(info.provenance), vlmad=__version__)

    def run(self) -> StudyReport:
        """Every step, each within its share of the time, and the report in any case."""
        names = steps_of(self.planner)
        for place, name in enumerate(names):
            room = max(0.0, self.limit.left) * share(names, place)
            # Nothing is worth anything without the section that the recommendation is made of.
            self.limit.start_step(self.limit.left if name == "shots" else 1.5 * room)
            started = time.perf_counter()
            self._cut({f"{name}, time": ""})
            if self.limit.left < 0 and name != "shots":
                self._cut({f"{name}, time": f"{name}: left out for lack of time."})
                continue
            try:
                self._step(name, room)
            except TimeIsUpError:
                self._cut({f"{name}, time": f"{name}: stopped when its time was over; more --minutes complete it."})
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
            self.planner.info,
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
        elif name in BENCHMARKS:
            self._section(name, room)
        elif name == "examples":
            self._examples()
        elif name == "efficiency":
            cells = self._shots_cells()
            order = {(one.method, one.shots): place for place, one in enumerate(self._main_methods())}
            chosen = first_cells(cells, (0, self.scope.reference))
            chosen.sort(key=lambda cell: order.get((cell.method, cell.shots), len(order)))
            folder, progress = self.folder.path / "efficiency", self._counter("costs")
            measure_costs(chosen, folder, self.registry, progress, device=self.settings.device)
        elif "prompts" in self.planned and self._has_rows("prompts"):
            cells = find_cells(self.planned["prompts"].plans[0], self.registry)
            categories = list({id(cell.category): cell.category for cell in cells}.values())
            path = self.folder.path / "prompts" / "ablation.json"
            ablate_prompts(self.planner.info, categories, path, self.registry, self._counter("states and templates"))

    def _train(self, room: float) -> None:
        out = self.folder.path / "trained"
        jobs, left = plan_training(
            self.scope.train_images, self.planner.data.sources, self.planner.info, out, self.registry
        )
        self.left_out["alignment"] = list(left)
        if jobs and not any(job.result.folder.exists() for job in jobs) and "train" not in self.scope.max_images:
            each = self._seconds_per_image(jobs[0]) * _TRAIN_COST * len(jobs)
            count = min(self.scope.train_images, max(3 * FEWEST, int(room / max(each, 1e-9))))
            cuts = dict(self.scope.cuts)
            if count < self.scope.train_images:
                cuts["train"] = f"train: each training uses at most {count} images, of up to {self.scope.train_images}."
            changes = {"train_images": count, "cuts": cuts, "max_images": {**self.scope.max_images, "train": count}}
            self.scope = self.folder.save_scope(self.scope.model_copy(update=changes))
            jobs, _ = plan_training(count, self.planner.data.sources, self.planner.info, out, self.registry)
        for job in jobs:
            what = f"training {job.result.label}"
            self._notify(what)
            run_training(job, self.planner.info, self.settings, self.registry, self._counter(what))
            self.planner.trained.append(job.result)

    def _seconds_per_image(self, job: TrainingJob) -> float:
        assert self.planner.info.zero_shot is not None
        pipeline = assemble(self.planner.info.zero_shot, backbone=self.planner.info.model, registry=self.registry)
        images = [sample.image for sample in job.data.samples[:3]]
        pipeline.predict(images[0], "object")
        started = time.perf_counter()
        pipeline.predict(images, "object")
        return (time.perf_counter() - started) / len(images)

    def _section(self, name: str, room: float) -> None:
        """Choose how much fits, run it, and learn from how long it really took."""
        estimated = 0.0
        if name in self.scope.max_images:
            if name == "shots" and self.scope.dropped:
                self._restore_dropped(room)
            planned: PlannedSection | None = self.planner.plan(name, self.scope)
        else:
            self._notify(f"timing {name}")
            chosen = self.planner.choose(name, self.scope, room, self.pace, self.limit.check)
            planned, estimated = chosen.planned, chosen.seconds
            self.scope = self.folder.save_scope(chosen.scope.model_copy(update={"cuts": self.scope.cuts}))
            self._cut(chosen.cuts)
        if planned is None:
            return
        self.planned[name], self.left_out[name] = planned, planned.left_out
        out = self.folder.path / name
        check_rows(out, [cell.key for cell in cells_of(planned, self.registry)])
        started, is_new = time.perf_counter(), not self._has_rows(name)

        def show(now: BenchmarkProgress) -> None:
            self.limit.check()
            self._notify(f"{name}: {now.message}")

        for plan in planned.plans:
            results = run_benchmark(
                plan,
                out,
                extend=True,
                tables=False,
                progress=show,
                on_message=self.on_message,
                registry=self.registry,
            )
            for error in dict.fromkeys(row["error"] for row in results.failed):
                planned.leave_out(f"A run failed: {error}")
        if is_new and estimated > 1:
            self.pace *= max(0.2, min(5.0, (time.perf_counter() - started) / estimated))

    def _restore_dropped(self, room: float) -> None:
        """Take back methods that an earlier call had no time for, where this one has."""
        whole = self.scope.model_copy(update={"dropped": ()})
        cells = cells_of(self.planner.plan("shots", whole), self.registry)
        missing = [cell for cell in cells if cell.method in self.scope.dropped]
        timing = time_cells(missing, self.registry, self.limit.check, device=self.settings.device)
        if self.pace * timing.seconds(missing) <= room:
            self.scope = self.folder.save_scope(whole)
            self._cut({"shots, methods": ""})

    def _examples(self) -> None:
        main = {(one.method, one.shots) for one in self._main_methods()}
        cells = [c for c in self._shots_cells() if (c.method, c.shots) in main and c.status == "waiting" and not c.seed]
        folder = self.folder.path / "images" / "examples"
        scores, progress = self.folder.path / "shots" / "scores", self._counter("examples")
        draw_gallery(cells, scores, folder, self.registry, progress, device=self.settings.device)

    def _main_methods(self) -> Sequence[Ranked]:
        if not self._has_rows("shots"):
            return ()
        shots = self.folder.path / "shots"
        found = recommend(shots, read_rows(shots), [], self.scope.reference)
        return () if found is None else main_methods(found)

    def _shots_cells(self) -> list[Cell]:
        return cells_of(self.planned["shots"], self.registry) if "shots" in self.planned else []

    def _has_rows(self, name: str) -> bool:
        return (self.folder.path / name / ROWS).exists()

    def _cut(self, sentences: Mapping[str, str]) -> None:
        """Say what was cut, by step; an empty sentence takes one back."""
        cuts = {key: sentence for key, sentence in {**self.scope.cuts, **sentences}.items() if sentence}
        if cuts != self.scope.cuts:
            self.scope = self.folder.save_scope(self.scope.model_copy(update={"cuts": cuts}))

    def _counter(self, what: str) -> Callable[[int, int], None]:
        def show(done: int, total: int) -> None:
            self.limit.check()
            self._notify(f"{what}: {done} of {total}")

        return show

    def _notify(self, what: str) -> None:
        self.progress(StudyProgress(self.limit.passed, self.limit.seconds, what))

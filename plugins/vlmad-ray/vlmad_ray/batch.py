"""The run: addresses through a pool of actors into Parquet, with Ray's checkpoints, so that it goes on after a stop."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.files import differences, folder_lock, mark_written, write_whole
from vlmad_core.pipeline.build import is_exported
from vlmad_core.pipeline.checkpoint import RECORD
from vlmad_core.version import __version__
from vlmad_ray.cluster import join_cluster
from vlmad_ray.sources import find_addresses, is_remote, write_manifest
from vlmad_ray.worker import Worker

__all__ = ["BatchOptions", "BatchSummary", "connect", "run_batch"]

RESULTS, CHECKPOINT, MANIFEST, RUN, SUMMARY = "results", ".checkpoint", "manifest", "run.json", "summary.json"

_BATCHES, _PIECES = 8, 10_000
"""A piece of work is so many batches, so that a stop loses little; more where there would be too many pieces."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How the work is shared.

    Args:
        workers: Actors; each holds the detector once.
        cpus: For each of them.
        gpus: For each of them; a share such as 0.5 puts two on one.
        batch_size: Images that an actor is given at a time.
        maps: ``"none"``, or ``"png16"`` for a column with the bytes of a PNG.
        device: Of the detector.
        false_alarms: Rate of good images that may be rejected.
        max_side: Maps of larger images have this longer side.
        address: Of a Ray cluster; None: the one of the environment, else one on this machine.
    """

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    batch_size: int = 32
    maps: str = "none"
    device: str = "auto"
    false_alarms: float | None = None
    max_side: int = 4096
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 1 or self.batch_size < 1 or self.cpus <= 0 or self.gpus < 0:
            raise ConfigError(
                f"workers ({self.workers}) and batch_size ({self.batch_size}) must be at least 1, cpus ({self.cpus}) "
                f"above 0 and gpus ({self.gpus}) not below."
            )


@dataclass(frozen=True)
class BatchSummary:
    """What a run did; counted in the results themselves.

    Args:
        images: Addresses of the source.
        judged: Of them with a score, now or in an earlier part of the run.
        failed: With an error.
        done_now: Rows that this run added.
        seconds: Of this run.
        verdicts: Number of images by verdict.
    """

    images: int
    judged: int
    failed: int
    done_now: int
    seconds: float
    verdicts: Mapping[str, int]


def run_batch(
    source: str,
    detector: str | Path,
    out: str | Path,
    options: BatchOptions | None = None,
    *,
    column: str | None = None,
    progress: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> BatchSummary:
    """Judge every image of a source into ``OUT/results/*.parquet``, each exactly once, whatever interrupts the run.

    Args:
        source: See `vlmad_ray.sources.find_addresses`.
        detector: Folder of a detector, or ``nut.onnx``; on a cluster, a path that every machine can read.
        out: Folder; the same call goes on where it stopped, and judges images that have come since.
        options: How the work is shared.
        column: Of a list with addresses.
        progress: Ray's bars on stderr.
        tell: Called with what a person should know.

    Raises:
        ConfigError: ``out`` holds the results of another detector or other options; the detector cannot be used.
        ImageError: The source holds no image, or cannot be reached.
        VlmadError: The run stopped: the disk is full, or Ray failed. What is done stays, and the same call goes on.
    """
    options = options or BatchOptions()
    detector, out = Path(detector).resolve(), Path(out)
    worker = {
        "detector": str(detector),
        "device": options.device,
        "maps": options.maps,
        "false_alarms": options.false_alarms,
        "max_side": options.max_side,
        "threads": max(1, int(options.cpus)),
    }
    first = Worker(
        **{**worker, "device": "cpu" if options.gpus else options.device}
    )  # refused here, not in every actor
    if first.predictor.reason:
        tell(f"without verdicts: {first.predictor.reason}")
    addresses, note = find_addresses(source, column)
    if note:
        tell(note)
    if any(is_remote(address) for address in addresses[:1]):
        _check_access(addresses[0])
    _prepare(out, _settings(detector, worker))
    with folder_lock(out):
        known = _rows(out)
        pieces = write_manifest(
            addresses, out / MANIFEST, max(options.batch_size * _BATCHES, len(addresses) // _PIECES)
        )
        if known:
            tell(f"{known} images have their rows already")
        started = time.perf_counter()
        _run(out, worker, options, pieces, progress)
        seconds = time.perf_counter() - started
        summary = _summary(out, set(addresses), known, seconds)
        write_whole(out / SUMMARY, (json.dumps(asdict(summary), indent=1) + "\n").encode())
    return summary


def _settings(detector: Path, worker: Mapping[str, Any]) -> dict[str, Any]:
    record = detector.with_suffix(".json") if is_exported(detector) else detector / RECORD
    digest = hashlib.sha256(record.read_bytes()).hexdigest()
    kept = {name: worker[name] for name in ("maps", "false_alarms", "max_side")}
    return {"vlmad": __version__, "detector_sha256": digest, **kept}


def _prepare(out: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder, or refuse one with other results."""
    path = out / RUN
    try:
        (out / RESULTS).mkdir(parents=True, exist_ok=True)
        mark_written(out, RESULTS, MANIFEST, RUN, SUMMARY)
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))["settings"]
            if changes := differences(before, settings):
                raise ConfigError(f"{out}: was made with other settings: {changes}. Use another --out.")
            return
        if any((out / RESULTS).iterdir()):
            raise ConfigError(f"{out / RESULTS}: holds files, and {RUN} is missing; use another --out.")
        write_whole(path, (json.dumps({"format": 1, "settings": settings}, indent=1) + "\n").encode())
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, VlmadError):
            raise
        raise ConfigError(f"{out}: cannot be used for results ({error}).") from error


def _check_access(address: str) -> None:
    """Refuse where nothing could be fetched, before every row becomes the same error."""
    from vlmad_ray.worker import _fetch

    _, error = _fetch(address)
    if error is not None:
        raise ConfigError(f"{error} Nothing was started; give credentials in the environment of every worker.")


def _run(out: Path, worker: Mapping[str, Any], options: BatchOptions, pieces: int, progress: bool) -> None:
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.data.checkpoint import CheckpointConfig
    from ray.exceptions import RayError

    own = not ray.is_initialized()
    if own:
        connect(options)
    context = DataContext.get_current()
    context.enable_progress_bars = progress
    context.use_datasource_v2 = False  # which packs small files together, so that a stop would lose all of them
    if not progress:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.checkpoint_config = CheckpointConfig(
        id_column="path", checkpoint_path=str((out / CHECKPOINT).absolute()), delete_checkpoint_on_success=False
    )
    try:
        data = ray.data.read_parquet(str((out / MANIFEST).absolute()), override_num_blocks=pieces)
        judged = data.map_batches(
            Worker,
            fn_constructor_kwargs=dict(worker),
            batch_size=options.batch_size,
            compute=ActorPoolStrategy(size=options.workers, max_tasks_in_flight_per_actor=2),
            num_cpus=options.cpus,
            num_gpus=options.gpus or None,
        )
        judged.write_parquet(str((out / RESULTS).absolute()))
    except (RayError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[-600:]
        raise VlmadError(f"{out}: the run stopped ({reason}). What is done stays; the same command goes on.") from error
    finally:
        context.checkpoint_config = None
        if own:
            ray.shutdown()


def connect(options: BatchOptions) -> None:
    """Join the cluster that is named, or start one on this machine.

    Raises:
        VlmadError: It cannot be reached, or did not start in three attempts.
    """
    # Beside the workers one task lists, one reads, one filters and one writes, each of which asks for a whole CPU.
    join_cluster(options.address, ceil(options.workers * options.cpus) + 4)


def _rows(out: Path) -> int:
    """Rows in whole files. One that a stop cut short holds no image: Ray removes it when the run goes on."""
    count = 0
    for path in (out / RESULTS).glob("*.parquet"):
        try:
            count += int(pq.read_metadata(path).num_rows)
        except (OSError, pa.ArrowException):
            continue
    return count


def _summary(out: Path, wanted: set[str], known: int, seconds: float) -> BatchSummary:
    """Count the rows that were written, and make certain that each image has exactly one."""
    try:
        table = pads.dataset(str(out / RESULTS), format="parquet").to_table(columns=["path", "verdict", "error"])
    except (OSError, pa.ArrowException) as error:
        raise VlmadError(
            f"{out / RESULTS}: a file of results cannot be read ({error}). Run the same command again."
        ) from error
    paths = table["path"].to_pylist()
    counts = Counter(paths)
    twice = [path for path, count in counts.items() if count > 1]
    missing = wanted - counts.keys()
    if twice or missing:
        first = next(iter(twice or missing))
        raise VlmadError(
            f"{out}: {len(twice)} images have more than one row and {len(missing)} have none, such as {first}. Run the "
            "same command again for the missing ones; for the others, count each path once."
        )
    failed = len(paths) - table["error"].null_count
    verdicts = Counter(verdict for verdict in table["verdict"].to_pylist() if verdict is not None)
    return BatchSummary(len(wanted), len(paths) - failed, failed, len(paths) - known, seconds, dict(verdicts))

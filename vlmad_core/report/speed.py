"""Measurements of speed, one line of ``speed.jsonl`` each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from vlmad_core.errors import ConfigError
from vlmad_core.files import read_json_lines, write_whole
from vlmad_core.version import __version__

__all__ = ["SPEED", "Speed", "read_speed", "write_speed"]

SPEED = "speed.jsonl"
"""What a folder of results calls its measurements of speed."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured at one batch size; one line of ``speed.jsonl``.

    Args:
        method: The label that rows of results have.
        backbone: Likewise.
        image_size: ``(height, width)`` that the backbone works at.
        device: Such as "cpu".
        machine: Name of the processor or the accelerator.
        dtype: Of the weights.
        threads: CPU threads of torch.
        batch: Images through the backbone at a time.
        images: How many were timed.
        p50_ms: Milliseconds for one image by itself, which half of them stay below; None for batches above 1.
        p95_ms: Likewise 95 %.
        p99_ms: Likewise 99 %; of fewer than 100 images it is close to the slowest.
        images_per_second: With the next files decoded while a batch is computed.
        peak_memory_mb: Most memory held at a time, in 10^6 bytes, model and process included; None if unknown.
        memory: What that is: memory of the process, or of the accelerator.
        parameters: Of backbone and parts.
        learned: Of the parts alone.
        flops: For one image, two for each multiply-add; see :func:`~vlmad_core.benchmark.flops.count_flops`.
        shots: Normal images it was fitted on, as rows of results have it; None: whatever their number.
        vlmad: Version.
        torch: Version.
    """

    method: str
    backbone: str
    image_size: tuple[int, int]
    device: str
    machine: str
    dtype: str
    threads: int
    batch: int
    images: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    images_per_second: float
    peak_memory_mb: float | None
    memory: str
    parameters: int
    learned: int
    flops: int
    shots: int | None = None
    vlmad: str = __version__
    torch: str = str(torch.__version__)


def write_speed(path: str | Path, speeds: Iterable[Speed]) -> None:
    """``speed.jsonl``; what is there of other methods, sizes, machines and batches stays."""
    path = Path(path)
    kept = {_key(speed): speed for speed in (read_speed(path) if path.exists() else [])}
    kept |= {_key(speed): speed for speed in speeds}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(f"{json.dumps(asdict(speed))}\n" for speed in kept.values()).encode())


def read_speed(path: str | Path) -> list[Speed]:
    """What :func:`write_speed` wrote.

    Raises:
        ConfigError: Not there, or a line that is not one of speed.
    """
    try:
        return list(read_json_lines(Path(path), _parse, "a measurement of speed"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; `vlmad speed --out {path}` writes it.") from error


def _parse(line: bytes) -> Speed | None:
    known = {field.name for field in fields(Speed)}
    try:
        row = {key: value for key, value in json.loads(line).items() if key in known}
        row["image_size"] = tuple(row["image_size"])
        return Speed(**row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _key(speed: Speed) -> tuple[object, ...]:
    return (
        speed.method,
        speed.backbone,
        speed.shots,
        speed.image_size,
        speed.device,
        speed.machine,
        speed.dtype,
        speed.threads,
        speed.batch,
    )

"""The former version of a saved detector, kept whole in a folder beside it, and brought back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlmad_core.documents import parse_json, read_limited
from vlmad_core.errors import ConfigError
from vlmad_core.files import folder_lock, write_whole
from vlmad_core.pipeline.calibration_file import CALIBRATION, read_calibration
from vlmad_core.pipeline.checkpoint import RECORD, read_checkpoint

__all__ = ["former_folder", "keep_former", "restore_former"]


def former_folder(folder: str | Path) -> Path:
    """``NAME.former`` beside ``NAME``: itself the folder of a detector."""
    folder = Path(folder).absolute()
    return folder.with_name(f"{folder.name}.former")


def keep_former(folder: str | Path) -> Path:
    """Copy a detector with its calibration to the folder beside it; an older version there is replaced.

    Returns:
        Where the copy is.

    Raises:
        ConfigError: It cannot be read or written, or a folder of that name holds something else.
    """
    former = former_folder(folder)
    _write(former, _read(Path(folder)))
    return former


def restore_former(folder: str | Path) -> Path:
    """Exchange a detector with its former version, so that a second call brings the newer one back.

    At every moment both versions are on the disk: an interrupted call leaves the newer one in ``NAME.newer``.

    Returns:
        Where the version is now that was in force before.

    Raises:
        ConfigError: There is no former version, or it cannot be read or written. The detector is then as before.
    """
    folder, former = Path(folder), former_folder(folder)
    if not (former / RECORD).is_file():
        raise ConfigError(f"{folder}: has no former version ({former} is missing); `vlmad feedback` keeps one.")
    before, after = _read(folder), _read(former)
    newer = former.with_name(f"{former.name.removesuffix('.former')}.newer")
    _write(newer, before)
    _write(folder, after)
    _write(former, before)
    for name in before:
        (newer / name).unlink(missing_ok=True)
    if not any(newer.iterdir()):
        newer.rmdir()
    return former


def _read(folder: Path) -> dict[str, bytes]:
    """The files of a detector by name: tensors, then the records that name them.

    Raises:
        ConfigError: One is missing, damaged, or not what its record says.
    """
    read_checkpoint(folder)
    read_calibration(folder)
    try:
        with folder_lock(folder):
            records = {name: read_limited(folder / name) for name in (RECORD, CALIBRATION) if (folder / name).exists()}
            states = [str(parse_json(text, str(folder / name))["state"]["file"]) for name, text in records.items()]
            return {name: read_limited(folder / name, limit=None) for name in states} | records
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read ({error.strerror}).") from error


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put a detector into a folder. A calibration beside another record than its own is refused when it is loaded."""
    if folder.exists() and not (folder / RECORD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is there and holds no detector, so it is not written to. Move it away.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with folder_lock(folder):
            earlier = [path for path in folder.glob("state-*.safetensors") if path.name not in files]
            for name, content in files.items():
                write_whole(folder / name, content, sync=True)
            if CALIBRATION not in files:
                (folder / CALIBRATION).unlink(missing_ok=True)
            for path in earlier:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}).") from error

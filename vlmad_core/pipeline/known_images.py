"""Image files that are known by path and content: found where they are, refused where they were replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vlmad_core.contracts.weights_file import sha256_of
from vlmad_core.errors import ImageError

__all__ = ["locate"]

_NAMED = 5


def locate(known: Iterable[tuple[str, str]], folder: str | Path | None = None) -> list[Path]:
    """The files of images, in order.

    Args:
        known: Path and SHA-256 of each; a file counts only with this content.
        folder: Where images have moved to: searched for the relative path and for the name alone.

    Raises:
        ImageError: Some are not there or have another content; the text names them.
    """
    found, missing, replaced = list[Path](), list[str](), list[str]()
    for name, sha256 in known:
        places = [place for place in _places(name, folder) if place.is_file()]
        path = next((place for place in places if _has_content(place, sha256)), None)
        if path is not None:
            found.append(path)
        else:
            (replaced if places else missing).append(name)
    if missing or replaced:
        texts = [_named("not found", missing)] if missing else []
        texts += [_named("replaced since it was scored (its content is another)", replaced)] if replaced else []
        raise ImageError(
            f"{'; '.join(texts)}. Nothing has changed. Put the files back, or say with --images FOLDER where they are."
        )
    return found


def _places(name: str, folder: str | Path | None) -> list[Path]:
    path = Path(name)
    if folder is None:
        return [path]
    return [*([] if path.is_absolute() else [Path(folder) / path]), Path(folder) / path.name, path]


def _has_content(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}).") from error


def _named(what: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    count = f"{len(names)} images" if len(names) > 1 else "1 image"
    return f"{count} {what}: {', '.join(repr(name) for name in names[:_NAMED])}{more}"

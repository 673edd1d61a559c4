"""What a person decided about images: the JSON document that the page of ``vlmad report`` exports, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from vlmad_core.documents import parse_json, read_limited
from vlmad_core.errors import ConfigError

__all__ = ["Feedback", "FeedbackImage", "FeedbackLabel", "read_feedback"]

FeedbackLabel = Literal["good", "defect", "other part"]

_FORMAT, _VERSION = "vlmad-feedback", 1
_HASH = re.compile(r"[0-9a-f]{64}")
_WHAT_TO_DO = "Export it again from the page of `vlmad report`."


@dataclass(frozen=True)
class FeedbackImage:
    """One image with the label that a person gave it.

    Attributes:
        path: As in the results.
        sha256: Of its file when the report was made.
        label: ``good``, ``defect``, or ``other part``: neither, since it shows something else.
        verdict: On the page when the person decided; "" where it is not known.
    """

    path: str
    sha256: str
    label: FeedbackLabel
    verdict: str = ""


@dataclass(frozen=True)
class Feedback:
    """A whole document.

    Attributes:
        images: Those with a label, each once.
        n_without_label: Images that have a comment alone; nothing is done with them.
    """

    images: tuple[FeedbackImage, ...]
    n_without_label: int = 0


def read_feedback(path: str | Path) -> Feedback:
    """Read what the page exported.

    Raises:
        ConfigError: The file is not there, is cut off or of another kind, has no image with a label, has a labelled
            image without a hash, or gives one image two labels.
    """
    try:
        document = parse_json(read_limited(Path(path)), str(path))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file. {_WHAT_TO_DO}") from error
    except ConfigError as error:
        raise ConfigError(f"{error} {_WHAT_TO_DO}") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ConfigError(f"{path}: is not feedback of vlmad (its 'format' must be '{_FORMAT}'). {_WHAT_TO_DO}")
    if document.get("version") != _VERSION:
        raise ConfigError(
            f"{path}: has version {document.get('version')!r}, and this vlmad reads {_VERSION}; upgrade vlmad-core."
        )
    listed = document.get("images")
    if not isinstance(listed, list):
        raise ConfigError(f"{path}: has no list 'images'. {_WHAT_TO_DO}")
    found: dict[str, FeedbackImage] = {}
    for number, entry in enumerate(listed, 1):
        image = _image(entry, f"{path}: image {number}")
        if image is None:
            continue
        before = found.setdefault(image.sha256, image)
        if before.label != image.label:
            raise ConfigError(
                f"{path}: '{before.path}' is labelled '{before.label}' and '{image.path}', which has the same content, "
                f"'{image.label}'. Correct one of them on the page and export again."
            )
    n_labelled = sum(isinstance(entry, dict) and entry.get("label") is not None for entry in listed)
    if not found:
        raise ConfigError(f"{path}: gives no image a label, so there is nothing to do. Label images on the page first.")
    return Feedback(tuple(found.values()), len(listed) - n_labelled)


def _image(entry: Any, where: str) -> FeedbackImage | None:
    """One entry; None where it has no label."""
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not entry["path"]:
        raise ConfigError(f"{where}: must be an object with a 'path'. {_WHAT_TO_DO}")
    label = entry.get("label")
    if label is None:
        return None
    if label not in get_args(FeedbackLabel):
        raise ConfigError(
            f"{where} ('{entry['path']}'): label must be good, defect, other part or null, not {label!r}."
        )
    return FeedbackImage(entry["path"], _hash_of(entry, where), cast("FeedbackLabel", label), _verdict(entry))


def _hash_of(entry: Mapping[str, Any], where: str) -> str:
    sha256 = entry.get("sha256")
    if sha256 is None:
        raise ConfigError(
            f"{where} ('{entry['path']}'): has no content hash, since the file was not there when the report was made. "
            "Make the report where the images are, and label it again."
        )
    if not isinstance(sha256, str) or not _HASH.fullmatch(sha256):
        raise ConfigError(f"{where} ('{entry['path']}'): sha256 must be 64 hexadecimal digits, not {sha256!r}.")
    return sha256


def _verdict(entry: Mapping[str, Any]) -> str:
    verdict = entry.get("verdict")
    return verdict if isinstance(verdict, str) else ""

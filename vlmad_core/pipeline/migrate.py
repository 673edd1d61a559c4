"""Records of detectors that earlier versions wrote, in the form of this one. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlmad_core.errors import ConfigError

__all__ = ["NEEDED", "RENAMED_OPTIONS", "upgrade_record"]

NEEDED = ("spec", "plugins", "backbone")
"""What a detector's record has in every format."""

RENAMED_OPTIONS = {
    "patches": {"taps": "layers"},
    "dpam": {"taps": "layers"},
    "foreground": {"taps": "layers"},
    "projections": {"taps": "layers"},
    "adapted-patches": {"taps": "layers"},
}
"""Part to its options of format 1: the old name and the present one."""


def upgrade_record(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A detector's record of any format, as this version writes it.

    Args:
        record: As it was read; nothing in it is trusted to have the right type.
        where: Path of its file, for an error.

    Raises:
        ConfigError: A field of another type.
    """
    record = {"trained": {}, **record}
    for field in ("backbone", "plugins", "spec", "trained"):
        if not isinstance(record[field], dict):
            raise ConfigError(f"{where}: {field} must be a mapping, got {record[field]!r}.")
    if record["format"] == 1:
        record["class_name"] = record.pop("name", None)
        record["spec"] = {kind: _upgrade_part(part) for kind, part in record["spec"].items()}
    if not isinstance(record.setdefault("class_name", None), str | None):
        raise ConfigError(f"{where}: class_name must be a name, got {record['class_name']!r}.")
    _check_training(record["trained"], where)
    images = record.setdefault("normal_images", [])  # of earlier versions: not known
    if not isinstance(images, list) or not all(_is_image(image) for image in images):
        raise ConfigError(f"{where}: normal_images must be a list of a path and a hash each.")
    for plugin, version in record["plugins"].items():
        if not isinstance(version, str):
            raise ConfigError(f"{where}: plugins.{plugin} must be a version, got {version!r}.")
    return record


def _is_image(image: Any) -> bool:
    return isinstance(image, list) and len(image) == 2 and all(isinstance(text, str) for text in image)


def _check_training(trained: Any, where: str) -> None:
    """Refuse a record of training that could not be shown."""
    for _ in range(100):
        if not isinstance(trained, dict) or not isinstance(trained.get("data", {}), dict):
            raise ConfigError(f"{where}: trained must say on which data, as a mapping, got {trained!r}.")
        if not trained.get("before"):
            return
        trained = trained["before"]
    raise ConfigError(f"{where}: trained is nested too deeply.")


def _upgrade_part(part: Any) -> Any:
    if isinstance(part, list):
        return [_upgrade_part(one) for one in part]
    if not isinstance(part, Mapping) or not isinstance(part.get("config"), Mapping):
        return part
    renamed = RENAMED_OPTIONS.get(str(part.get("use")).rpartition(":")[2], {})
    config = {renamed.get(name, name): value for name, value in part["config"].items()}
    if "taps" in renamed and config.get("layers") == []:  # format 1 wrote the default of learned projections so
        config["layers"] = "quarters"
    return {**part, "config": config}

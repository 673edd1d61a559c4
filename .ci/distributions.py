"""The distributions of this repository, what they need, and what is installed for them.

For the scripts beside it and for the tests; no part of any distribution.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CORE = "vlmad-core"


@dataclass(frozen=True)
class Distribution:
    """One folder with a ``pyproject.toml``: the core, or a plugin."""

    folder: Path

    @cached_property
    def project(self) -> Mapping[str, Any]:
        """The table ``[project]``."""
        return dict(tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"])

    @property
    def name(self) -> str:
        """As it is installed: ``vlmad-winclip``."""
        return str(self.project["name"])

    @property
    def version(self) -> str:
        """Read by hatchling where its ``pyproject.toml`` says; a version of its own would be found here."""
        if "version" in self.project:
            return str(self.project["version"])
        source = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["version"]
        text = (self.folder / source["path"]).resolve().read_text(encoding="utf-8")
        return re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)[0]

    @property
    def package(self) -> Path:
        """The folder that is imported."""
        return self.folder / self.name.replace("-", "_")

    @property
    def extras(self) -> dict[str, list[Requirement]]:
        """What each extra asks for; under ``""`` what is always asked for. Those for tests of its own are left out."""
        lists = {"": self.project["dependencies"], **self.project.get("optional-dependencies", {})}
        return {extra: [Requirement(line) for line in lines] for extra, lines in lists.items() if extra != "test"}


def distributions(root: Path = ROOT) -> list[Distribution]:
    """The core, then the plugins by name."""
    folders = sorted(path.parent for path in root.glob("plugins/*/pyproject.toml"))
    return [Distribution(folder) for folder in [root, *folders]]


def third_party(ours: Iterable[Distribution]) -> set[str]:
    """Names of what others made and ours need, with all extras."""
    ours = list(ours)
    needed = {canonicalize_name(r.name) for each in ours for needs in each.extras.values() for r in needs}
    return needed - {distribution.name for distribution in ours}


@dataclass(frozen=True)
class Installed:
    """One distribution that is needed, as it is here, and the extras of it that somebody asked for; ``""`` is none."""

    distribution: metadata.Distribution
    extras: set[str]

    @property
    def needs(self) -> list[Requirement]:
        """What it asks for on this machine, with these extras."""
        requirements = map(Requirement, self.distribution.requires or ())
        return [r for r in requirements if not r.marker or any(r.marker.evaluate({"extra": e}) for e in self.extras)]


def closure(wanted: Iterable[str]) -> dict[str, Installed]:
    """Everything that these requirements need, as it is installed here, by name.

    Args:
        wanted: Requirements, such as ``"vlmad-core[open-clip]"``.

    Raises:
        PackageNotFoundError: Something of it is not installed.
    """
    found: dict[str, Installed] = {}
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        known = found.setdefault(name, Installed(metadata.distribution(name), set()))
        if not extras <= known.extras:
            known.extras.update(extras)
            waiting += known.needs
    return dict(sorted(found.items()))

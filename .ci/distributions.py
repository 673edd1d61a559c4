"""The distributions of this repository, what they ask for, and what is installed for them with its licence.

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

_SPDX = {  # classifiers name licences in their own words
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


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
        """As it is written down."""
        return str(self.project["version"])

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


def third_party(ours: Iterable[Distribution]) -> dict[str, list[str]]:
    """What others made and ours ask for, by name; each with who asks: ``vlmad-core``, ``vlmad-core[open-clip]``."""
    ours = list(ours)
    own = {distribution.name for distribution in ours}
    asked: dict[str, list[str]] = {}
    for distribution in ours:
        for extra, requirements in distribution.extras.items():
            for requirement in requirements:
                if (name := canonicalize_name(requirement.name)) not in own:
                    asked.setdefault(name, []).append(distribution.name + (f"[{extra}]" if extra else ""))
    return {name: asked[name] for name in sorted(asked)}


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


def licence(distribution: metadata.Distribution) -> str:
    """What its metadata say, as SPDX where they say it so."""
    about = distribution.metadata
    if expression := about.get("License-Expression"):
        return str(expression)
    classifiers = [line for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    named = " AND ".join(_SPDX.get(word, word) for word in (line.rpartition(" :: ")[2] for line in classifiers))
    said = " ".join((about.get("License") or "").split())
    is_short = bool(said) and len(said) <= 40  # some put the whole text there
    return said if is_short and named in ("", "BSD") else named or "see its files"


_FAMILIES = {
    "Apache": r"apache",
    "BSD": r"\b0?bsd",
    "Boost": r"\bbsl|boost",
    "CC0": r"\bcc0",
    "CNRI": r"\bcnri",
    "ISC": r"\bisc\b",
    "MIT": r"\bmit\b",
    "MPL": r"\bmpl|mozilla",
    "PSF": r"\bpsf|python software foundation",
    "Zlib": r"\bzlib\b",
}


def families(licence: str) -> set[str]:
    """Families of licences named in a text, all of them free to use and pass on; ``unknown`` for a part of no such.

    >>> sorted(families("BSD-3-Clause AND Apache-2.0 WITH LLVM-exception")), sorted(families("GPL-3.0-only AND MIT"))
    (['Apache', 'BSD'], ['MIT', 'unknown'])
    """
    parts = re.split(r" (?:AND|OR) |[()]", licence)
    found = {
        part: {name for name, words in _FAMILIES.items() if re.search(words, part, re.I)} for part in parts if part
    }
    return set().union(*(names or {"unknown"} for names in found.values()))

"""Set the version of every distribution: ``python .ci/release.py 0.2.0``, or ``make release VERSION=0.2.0``.

All distributions have the version of ``vlmad_core/version.py``, which hatchling reads. What changes: that line, each
range that one of ours asks of another (also in the examples of the docs), and the heading of the unreleased changes.
Nothing is written unless all of it can be.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from distributions import ROOT, distributions
from packaging.version import Version

_RANGE = re.compile(r'"(vlmad-[a-z-]+(?:\[[a-z,-]+\])?)>=[^"]*"')
_UNRELEASED = re.compile(r"^## .*not released yet$", re.MULTILINE)


class Refused(Exception):
    """Why nothing was written."""


def contract_range(version: str) -> str:
    """From this version up to the next that may have other contracts.

    >>> contract_range("0.3.1"), contract_range("1.4.0")
    ('>=0.3,<0.4', '>=1.4,<2')
    """
    parsed = Version(version)
    ceiling = f"0.{parsed.minor + 1}" if parsed.major == 0 else parsed.major + 1
    return f">={parsed.major}.{parsed.minor},<{ceiling}"


def set_version(version: str, root: Path = ROOT, *, today: datetime.date | None = None) -> list[Path]:
    """Write the version wherever it stands.

    Args:
        version: ``x.y.z``, not below the one that is there.
        root: Of the repository.
        today: Date of the release.

    Returns:
        The files that changed.

    Raises:
        Refused: Not such a version, changes that are not committed, or a place that is not as it should be.
    """
    ours = distributions(root)
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Refused(f"a version reads x.y.z, got {version!r}.")
    if Version(version) < Version(ours[0].version):
        raise Refused(f"{version} is older than {ours[0].version}, which is there.")
    if changed := _git(root, "status", "--porcelain"):
        raise Refused(f"there are changes that are not committed; commit them first:\n{changed}")
    texts: dict[Path, str] = {}

    def replace(
        path: Path, pattern: str | re.Pattern[str], new: str | Callable[[re.Match[str]], str], times: int
    ) -> None:
        text, count = re.subn(pattern, new, texts.get(path) or path.read_text(encoding="utf-8"))
        if times and count != times:
            raise Refused(f"{path.relative_to(root)}: {pattern} should be there {times} times, is {count} times.")
        texts[path] = text

    replace(root / "vlmad_core" / "version.py", r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', 1)
    date = (today or datetime.date.today()).isoformat()
    replace(root / "CHANGELOG.md", _UNRELEASED, f"## {version}, {date}", 1)
    ranges = contract_range(version)
    for path in [*(ours.folder / "pyproject.toml" for ours in ours), *sorted(root.glob("docs/**/*.md"))]:
        if "decisions" not in path.parts:  # those say what was true then
            replace(path, _RANGE, lambda found: f'"{found[1]}{ranges}"', 0)
    written = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in written:
        path.write_text(texts[path], encoding="utf-8")
    return written


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", help="x.y.z")
    version = parser.parse_args().version
    try:
        written = set_version(version)
    except Refused as error:
        sys.exit(f"release: {error}")
    for path in written:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    sys.stdout.write(f"Now: reinstall (make venv), make test-all, commit, git tag v{version}, make wheels.\n")


if __name__ == "__main__":
    main()

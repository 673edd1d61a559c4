"""``vlmad new-plugin``: a whole distribution that installs, and passes its checks and tests at once. Free of torch."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Annotated, Literal

import typer

import vlmad_core
from vlmad_core.errors import ConfigError

Kind = Literal["extractor", "prompts", "scorer", "backbone", "dataset"]

TEMPLATE = Path(vlmad_core.__file__).with_name("template")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUMMARIES: dict[str, str] = {
    "extractor": "Patch tokens of one block, each averaged with its neighbours.",
    "prompts": "A few sentences for normal and for abnormal, averaged on each side.",
    "scorer": "Distance of each region to the mean of the normal ones.",
    "backbone": "A plain vision transformer that sees and does not read.",
    "dataset": "Images in one folder, and a table of labels and splits.",
}


def new_plugin_command(
    name: Annotated[str, typer.Argument(help="Such as my-method; the distribution is then vlmad-my-method.")],
    kind: Annotated[Kind, typer.Option(help="What it offers.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder to put it into; by default this one.")] = None,
) -> None:
    """Write a complete plugin to begin with: package, tests, licence, workflow.

    It works as it is. Then replace the method, and the tests that are about it.
    """
    folder = write_plugin(name, kind, out or Path())
    sys.stdout.write(
        f"{folder}\n\nIts method is in {_package(folder.name)}/{kind}.py. Next:\n"
        f"  pip install --editable '{folder}[test]'\n  vlmad check {folder.name}\n  pytest {folder}\n"
    )


def write_plugin(name: str, kind: Kind, out: Path) -> Path:
    """Write the distribution, whole or not at all.

    Args:
        name: Lower-case words joined by dashes, with or without ``vlmad-`` in front.
        kind: What it offers.
        out: Folder to put it into; made if it is not there.

    Returns:
        Its folder, called as the distribution.

    Raises:
        ConfigError: A name of the wrong form or taken, or a folder that is there.
    """
    short = name.removeprefix("vlmad-")
    if not _NAME.fullmatch(short):
        raise ConfigError(f"a name is lower-case words joined by dashes, such as 'my-method'; got {name!r}.")
    distribution = f"vlmad-{short}"
    folder = out / distribution
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; choose another name, or another folder with --out.")
    if _is_installed(distribution):
        raise ConfigError(f"a distribution '{distribution}' is installed already; choose another name.")
    values = _values(short, kind)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".new-plugin-") as place:
        whole = Path(place) / distribution
        for source, target in _files(short, kind).items():
            file = whole / target
            file.parent.mkdir(parents=True, exist_ok=True)
            text = (TEMPLATE / source).read_text(encoding="utf-8")
            file.write_text(Template(text).substitute(values) if source.endswith(".template") else text, "utf-8")
        shutil.move(whole, folder)
    return folder


def _files(short: str, kind: Kind) -> dict[str, str]:
    """File of the template to file of the distribution."""
    package = _package(f"vlmad-{short}")
    files = {
        "common/LICENSE": "LICENSE",
        "common/README.md.template": "README.md",
        "common/pyproject.toml.template": "pyproject.toml",
        "common/gitignore.template": ".gitignore",
        "common/workflow.yml.template": ".github/workflows/test.yml",
        "common/__init__.py.template": f"{package}/__init__.py",
        "common/py.typed": f"{package}/py.typed",
        f"{kind}/plugin.py.template": f"{package}/plugin.py",
        f"{kind}/method.py.template": f"{package}/{kind}.py",
        f"{kind}/test.py.template": f"tests/test_{package.removeprefix('vlmad_')}.py",
    }
    if kind == "dataset":
        files["dataset/example.csv.template"] = f"tests/example/{short}.csv"
        files |= {f"dataset/{image}": f"tests/example/images/{image}" for image in ("smooth.pgm", "dented.pgm")}
    return files


def _values(short: str, kind: Kind) -> dict[str, str]:
    package = _package(f"vlmad-{short}")
    values = {
        "name": short,
        "Name": "".join(word.capitalize() for word in short.split("-")),
        "distribution": f"vlmad-{short}",
        "package": package,
        "kind": kind,
        "summary": _SUMMARIES[kind],
        "core": _core_range(vlmad_core.__version__),
    }
    usage = (TEMPLATE / kind / "usage.md.template").read_text(encoding="utf-8")
    return values | {"usage": Template(usage).substitute(values).strip()}


def _package(distribution: str) -> str:
    return distribution.replace("-", "_")


def _core_range(version: str) -> str:
    """Up to the next version that may have other contracts.

    >>> _core_range("0.3.1"), _core_range("1.4.0")
    ('>=0.3,<0.4', '>=1.4,<2')
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    return f">={major}.{minor},<{f'0.{minor + 1}' if major == 0 else major + 1}"


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True

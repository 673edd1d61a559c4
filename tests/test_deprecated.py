"""Old names go on working for two minor versions, say what to write instead, and stand on the page that lists them."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from packaging.version import Version
from pydantic import Field

import vlmad_core
from vlmad_core import deprecated, spec
from vlmad_core.component import Config
from vlmad_core.deprecated import Renamed, with_new_names
from vlmad_core.errors import ConfigError
from vlmad_core.registry import Registry

PAGE = Path(__file__).resolve().parents[1] / "docs" / "stability.md"
SCALE = Renamed(new="scales", since="0.2", gone="0.4")


class Windows(Config):
    renamed_options: ClassVar = {"scale": SCALE}

    scales: tuple[int, ...] = Field((2, 3), description="Sides.")


def all_deprecations() -> Iterator[tuple[str, Renamed]]:
    """Every old name of the core and of the plugins that are here, as it stands on the page."""
    for old, renamed in deprecated.NAMES.items():
        yield f"vlmad_core.{old}", renamed
    for entry in Registry.discover({}).entries():
        if entry.kind != "recipe" and entry.plugin.startswith("vlmad-"):
            for old, renamed in entry.component.config.renamed_options.items():
                yield f"{entry.full_name} {old}", renamed
    for name, model in vars(spec).items():
        if isinstance(model, type) and issubclass(model, Config):
            for old, renamed in model.renamed_options.items():
                yield f"{name} {old}", renamed


def rows(page: str) -> set[tuple[str, ...]]:
    """The rows of the table that lists them: old, new, since, gone."""
    table = page.partition("<!-- deprecated -->")[2].partition("<!-- end -->")[0]
    cells = ([cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()[1:])
    return {tuple(row) for row in cells if len(row) == 4} - {("old name", "new name", "since", "gone"), ("---",) * 4}


def faults(found: list[tuple[str, Renamed]], page: str, version: str) -> list[str]:
    """What is wrong with the deprecations: not listed, listed and not there, too short, overdue."""
    there = {(old, r.new, r.since, r.gone) for old, r in found}
    told = [f"{row[0]}: is not listed" for row in sorted(there - rows(page))]
    told += [f"{row[0]}: is listed and not deprecated" for row in sorted(rows(page) - there)]
    for old, renamed in found:
        since, gone = Version(renamed.since), Version(renamed.gone)
        if gone.major == since.major and gone.minor - since.minor < 2:
            told.append(f"{old}: must live two minor versions")
        if Version(version) >= gone:
            told.append(f"{old}: is overdue, it goes in {renamed.gone}")
    return told


def page_with(*lines: str) -> str:
    head = ["<!-- deprecated -->", "| old name | new name | since | gone |", "|---|---|---|---|"]
    return "\n".join([*head, *lines, "<!-- end -->"])


def test_what_is_deprecated_is_listed_and_not_overdue():
    page = PAGE.read_text(encoding="utf-8")
    assert re.search(r"<!-- deprecated -->\n\n?\| old name \| new name \| since \| gone \|\n", page)
    assert faults(list(all_deprecations()), page, vlmad_core.__version__) == []


@pytest.mark.parametrize(
    ("renamed", "row", "version", "fault"),
    [
        (SCALE, "| `x scale` | `scales` | 0.2 | 0.4 |", "0.3.1", None),
        (SCALE, "", "0.3.1", "x scale: is not listed"),
        (SCALE, "| `x scale` | `scales` | 0.2 | 0.5 |", "0.3.1", "x scale: is not listed"),
        (SCALE, "| `x scale` | `scales` | 0.2 | 0.4 |", "0.4.0", "x scale: is overdue, it goes in 0.4"),
        (None, "| `x scale` | `scales` | 0.2 | 0.4 |", "0.3.1", "x scale: is listed and not deprecated"),
        (
            Renamed(new="scales", since="0.2", gone="0.3"),
            "| `x scale` | `scales` | 0.2 | 0.3 |",
            "0.2.0",
            "x scale: must live two minor versions",
        ),
        (Renamed(new="scales", since="0.9", gone="1.0"), "| `x scale` | `scales` | 0.9 | 1.0 |", "0.9.0", None),
    ],
)
def test_the_rule_finds_each_fault(renamed, row, version, fault):
    found = [("x scale", renamed)] if renamed else []
    told = faults(found, page_with(row), version)
    assert told == [] if fault is None else fault in told


def test_deprecated_options_and_names_are_found(monkeypatch):
    monkeypatch.setattr(deprecated, "NAMES", {"fusion": Renamed(new="Fuse", since="0.2", gone="0.4")})
    monkeypatch.setattr(spec.OutputSpec, "renamed_options", {"blur": Renamed(new="smooth", since="0.2", gone="0.4")})
    component = next(e for e in Registry.discover({}).entries("scorer") if e.name == "memory").component
    monkeypatch.setattr(component.config, "renamed_options", {"share": Renamed(new="top", since="0.2", gone="0.4")})
    named = [old for old, _ in all_deprecations()]
    assert named == ["vlmad_core.fusion", "vlmad-core:memory share", "OutputSpec blur"]


def test_an_old_public_name_works_and_warns(monkeypatch):
    monkeypatch.setattr(deprecated, "NAMES", {"fusion": Renamed(new="Fuse", since="0.2", gone="0.4")})
    said = "vlmad_core.fusion is called 'Fuse' since vlmad 0.2; the old name goes in 0.4."
    with pytest.warns(FutureWarning, match=re.escape(said)) as caught:
        assert vlmad_core.fusion is vlmad_core.Fuse
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning, match="fusion"):  # each time: it is not kept under the old name
        assert vlmad_core.fusion is vlmad_core.Fuse
    assert "fusion" not in dir(vlmad_core)


def test_an_old_option_works_and_warns():
    said = re.escape("option 'scale' is called 'scales' since vlmad 0.2; the old name goes in 0.4.")
    with pytest.warns(FutureWarning, match=said):
        config = Windows.model_validate({"scale": [5]})
    assert config == Windows(scales=(5,))
    assert config.model_dump() == {"scales": (5,)}


def test_new_names_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Windows.model_validate({"scales": [5]}).scales == (5,)
        assert Windows.model_validate(Windows()).scales == (2, 3)


def test_both_names_at_once_are_refused():
    with pytest.raises(
        ConfigError, match=r"extractor\.config: 'scale' is the old name of 'scales'; give one of the two"
    ):
        spec.validate(Windows, {"scale": [5], "scales": [6]}, "extractor.config", "windows")


def test_an_unknown_option_is_still_refused():
    with pytest.raises(ConfigError, match="no such option of 'windows'"):
        spec.validate(Windows, {"scael": [5]}, "extractor.config", "windows")


@pytest.mark.parametrize("options", [None, 3, "scale", ["scale"], Config()])
def test_what_is_no_mapping_is_handed_on(options):
    assert with_new_names(options, {"scale": SCALE}) is options


def test_options_keep_their_order_and_the_given_mapping_its_content():
    given = {"chunk": 1, "scale": [2], "norm": True}
    with pytest.warns(FutureWarning):
        assert list(with_new_names(given, {"scale": SCALE}).items()) == [("chunk", 1), ("scales", [2]), ("norm", True)]
    assert list(given) == ["chunk", "scale", "norm"]

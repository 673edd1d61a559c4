"""The docs as a site: each page has a place, no link is dead, written pages are up to date, nothing is fetched."""

import inspect
import re
import subprocess
import sys
import unicodedata
from importlib import import_module
from pathlib import Path

import docs_site
import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [*docs_site.pages().values(), ROOT / "README.md"]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """As python-markdown makes them of headings."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    plain = [unicodedata.normalize("NFKD", re.sub(r"[`*_]", "", title)).encode("ascii", "ignore") for title in titles]
    words = [re.sub(r"[^\w\s-]", "", title.decode()).strip().lower() for title in plain]
    return {re.sub(r"[-\s]+", "-", word) for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(page):
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "", text_of(page))):
        name, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or anchor.startswith("gh-"):
            continue
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors_of(there)):
            dead.append(target)
    assert dead == []


def test_every_page_has_one_place_and_every_place_a_page():
    config = yaml.safe_load((ROOT / ".ci" / "mkdocs.yml").read_text(encoding="utf-8"))
    left = list(docs_site.pages())
    listed = list(flat(docs_site.expand(config["nav"], left)))
    assert sorted(listed + left) == sorted(docs_site.pages())
    named = [entry for entry in flat(config["nav"]) if "*" not in entry]
    assert [entry for entry in named if entry not in docs_site.pages()] == []


def flat(nav):
    for entry in nav:
        if isinstance(entry, dict):
            inside = next(iter(entry.values()))
            yield from flat(inside) if isinstance(inside, list) else [inside]
        else:
            yield entry


@pytest.mark.parametrize(
    "script", ["build_reference", "build_concepts", "build_troubleshooting", "build_checks", "build_tables"]
)
def test_written_pages_are_up_to_date(script, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    module = import_module(script)
    for path, text in (module.pages() if hasattr(module, "pages") else {module.PAGE: module.page()}).items():
        assert path.read_text(encoding="utf-8") == text, f"run: python docs/{script}.py"


@pytest.fixture
def troubleshooting(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return import_module("build_troubleshooting")


def test_each_message_is_explained_or_listed_and_most_are_explained(troubleshooting):
    page = troubleshooting.PAGE.read_text(encoding="utf-8")
    raised = {" ".join(m.split()) for patterns in troubleshooting.messages().values() for m in patterns}
    without, keys = troubleshooting.unexplained(), troubleshooting.explanation_keys()
    explained = [m for m in raised if any(key in m for key in keys)]
    assert set(explained) | set(without) == raised
    assert [m for m in without if m not in page] == []
    assert len(explained) > 0.8 * len(raised)


def test_no_explanation_is_of_a_message_that_nothing_raises(troubleshooting):
    assert troubleshooting.gone() == []
    source = (ROOT / "vlmad_core" / "registry" / "validate.py").read_text(encoding="utf-8")
    assert [piece for piece in troubleshooting.COMPOSED.values() if piece not in source] == []


def test_an_explanation_is_short(troubleshooting):
    texts = [text for section in troubleshooting.sections() for text in section["why"].values()]
    assert [text for text in texts if len(text) > 330] == []


def test_messages_are_read_as_they_are_raised(troubleshooting):
    images = troubleshooting.messages()["vlmad_core/contracts/opening.py"]
    assert "…: is damaged or cut short (…)." in images
    assert {"…: the file is empty.", "…: is not an image that can be read."} <= set(images)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is in .ci/requirements.txt")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / ".ci" / "mkdocs.yml")]
    done = subprocess.run([*command, "--site-dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(docs_site.pages()) - 1
    for page in pages:
        html = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe|source|video)[^>]+src=[\"']?(?:https?:)?//[^\s>]+", html) == []
        assert re.findall(r"<link[^>]+href=[\"']?(?:https?:)?//[^\s>]+", html) == []
        assert 'class="mermaid"' not in html, "mermaid would be fetched when the page is opened"
    for style in tmp_path.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//|@import", style.read_text(encoding="utf-8")) == []


def test_each_public_name_of_python_has_its_place_in_the_reference():
    pages = [ROOT / "docs" / "reference" / name for name in ("python.md", "contracts.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    packages = {path.parent for path in (ROOT / "vlmad_core").rglob("__init__.pyi")}
    named = {".".join(path.relative_to(ROOT).parts) for path in packages} | {"vlmad_core.errors", "vlmad_core.testing"}
    assert named <= set(re.findall(r"<!-- names: (.+?) -->", text))


def test_public_names_are_read_from_the_source_as_python_has_them():
    import vlmad_core
    from vlmad_core import contracts, errors, run, testing

    for package in (vlmad_core, contracts, errors, run, testing):
        found = docs_site.public_names(package.__name__)
        rooms = {name for name in package.__all__ if inspect.ismodule(getattr(package, name))}
        assert set(found) == set(package.__all__) - {"__version__"} - rooms
        for name, home in found.items():
            module, _, inside = home.rpartition(".")
            assert getattr(import_module(module), inside) is getattr(package, name)


def test_docstrings_become_markdown():
    pytest.importorskip("griffe", reason="mkdocstrings-python is in .ci/requirements.txt")
    from docstrings import as_markdown

    assert as_markdown("See :func:`~vlmad_core.build`.") == "See `build`."
    assert as_markdown("A.\n\n>>> 1 + 1\n2\n\nB.") == "A.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nB."

"""Docs are held to the code: pages, links, examples, and every command, option, hook and public name."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import vlmad_core
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.registry import hookspecs
from vlmad_core.registry.registry import default_registry
from vlmad_core.registry.validate import validate

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")]
)


def text_of_docs() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_compile(page):
    for block in code_blocks(page, "python"):
        compile(block, str(page), "exec")


def test_the_page_of_the_command_line_is_up_to_date():
    spec = importlib.util.spec_from_file_location("build_cli", ROOT / "docs" / "build_cli.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python docs/build_cli.py"


def test_pipeline_files_in_the_docs_are_valid():
    blocks = [block for page in PAGES for block in code_blocks(page, "yaml") if "scorers:" in block]
    assert blocks
    for block in blocks:
        validate(PipelineSpec, yaml.safe_load(block))


def test_each_hook_part_and_recipe_is_documented():
    text = text_of_docs()
    hooks = [name for name in vars(hookspecs) if name.startswith("vlmad_")]
    names = [*hooks, *(entry.name for entry in default_registry().entries() if entry.kind != "recipe")]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_plugin_in_the_docs_works(tmp_path, monkeypatch):
    """Written as the page says, found as a plugin, mixed with parts that are there."""
    plugin, method = code_blocks(ROOT / "docs" / "plugins.md", "python")
    package = tmp_path / "vlmad_mean"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(plugin)
    (package / "mean.py").write_text(method)
    monkeypatch.syspath_prepend(str(tmp_path))
    from vlmad_core.registry.registry import Registry

    registry = Registry.discover({})
    registry.add("vlmad_mean.plugin", "vlmad-mean")
    assert registry.problems == []
    import numpy as np

    from vlmad_core.testing import tiny_backbone

    detector = vlmad_core.build(
        {"backbone": "tiny", "extractor": "patches", "scorers": "mean"}, backbone=tiny_backbone(), registry=registry
    )
    pictures = [np.random.default_rng(i).integers(0, 255, (32, 32, 3), dtype=np.uint8) for i in range(3)]
    detector.fit(pictures)
    assert 0 < detector.predict(pictures[0]).score < 1


def test_the_map_in_contributing_has_the_layers_and_rooms_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert "\n".join(layer.replace("vlmad_core.", "") for layer in layers) in text
    rooms = [path.parent.name for path in (ROOT / "vlmad_core").glob("*/__init__.py")]
    assert [room for room in rooms if f"`{room}/`" not in text] == []


def test_the_page_of_benchmarks_has_each_field_of_a_plan_and_no_other():
    text = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (`.*?) \| .* \|$", text.partition("| field |")[2].partition("\n\n")[0], re.MULTILINE)
    named = [name for cell in table for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(vlmad_core.BenchmarkPlan.model_fields)

"""The page of licences and the bill of materials say what is asked for and what is installed."""

import hashlib
import json

import licences
import pytest
import sbom
from distributions import CORE, ROOT, closure, distributions, families, licence, third_party
from packaging.utils import canonicalize_name

PAGE = licences.PAGE.read_text(encoding="utf-8")
OURS = [ours.name for ours in distributions()]


def test_the_page_names_everything_that_is_asked_for_and_who_asks():
    asked = third_party(distributions())
    table = licences.rows(PAGE.partition("## What those bring")[0])
    by = {name: cells[1].replace("`", "").split(", ") for name, cells in table.items()}
    assert by == asked, "run: python .ci/licences.py"


@pytest.mark.parametrize("name", licences.rows(PAGE))
def test_the_page_says_what_the_distribution_says(name):
    """To the family: between versions BSD becomes BSD-3-Clause, and nobody's freedom changes."""
    try:
        installed = closure([name])[canonicalize_name(name)]
    except ModuleNotFoundError:
        pytest.skip(f"{name} is not needed here")
    assert families(licences.rows(PAGE)[name][0]) == families(licence(installed.distribution)), (
        "run: python .ci/licences.py"
    )


def test_all_that_runs_with_vlmad_is_free_to_use_and_pass_on():
    assert licences.unfree() == {}


@pytest.mark.parametrize(
    "name", ["GPL-3.0-only", "LicenseRef-Proprietary", "CC-BY-NC-4.0", "see its files", "MIT AND AGPL-3.0"]
)
def test_what_is_not_free_is_found(name):
    assert "unknown" in families(name)


def test_the_page_holds_every_notice_word_for_word():
    notices = [ours.folder / "NOTICE" for ours in distributions() if (ours.folder / "NOTICE").exists()]
    assert ROOT / "plugins" / "vlmad-pocket" / "NOTICE" in notices
    assert PAGE.endswith(licences.weights()), "run: python .ci/licences.py"
    for path in notices[1:]:
        assert path.read_text(encoding="utf-8") in PAGE


def test_every_file_of_weights_stands_in_a_notice_of_its_wheel():
    found = [(ours, path) for ours in distributions() for path in ours.package.rglob("*.safetensors")]
    assert len(found) >= 2
    for ours, path in found:
        assert "NOTICE" in ours.project["license-files"]
        assert path.name in (ours.folder / "NOTICE").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bill():
    return sbom.bill(OURS)


def test_the_bill_holds_what_is_needed_to_run_and_no_tool(bill):
    named = {canonicalize_name(c["name"]) for c in bill["components"] if c["type"] == "library"}
    assert {*OURS, "torch", "numpy", "open-clip-torch", "timm", "tokenizers"} <= named
    assert not {"pytest", "ruff", "mypy", "tensorboard", "accelerate"} & named


def test_the_bill_of_the_core_alone_is_shorter():
    alone = {component["name"] for component in sbom.bill([CORE])["components"]}
    assert "torch" in alone
    assert not {"open_clip_torch", "timm", "torchvision"} & alone


def test_every_component_has_version_licence_and_address(bill):
    for component in bill["components"]:
        if component["type"] == "library":
            assert component["version"]
            assert component["purl"].startswith(f"pkg:pypi/{canonicalize_name(component['name'])}@")
        (said,) = component["licenses"]
        assert said.get("expression") or said["license"]["name"]


def test_references_in_the_bill_lead_somewhere(bill):
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(set(references)) == len(references)
    for row in bill["dependencies"]:
        assert {row["ref"], *row["dependsOn"]} <= set(references)
    core = next(row for row in bill["dependencies"] if "/vlmad-core@" in row["ref"])
    assert any("open-clip-torch" in reference for reference in core["dependsOn"])  # through the extra of vlmad-winclip


def test_weights_in_the_bill_have_the_hash_of_the_file(bill):
    models = [component for component in bill["components"] if component["type"] == "machine-learning-model"]
    package = ROOT / "plugins" / "vlmad-pocket" / "vlmad_pocket"
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in package.glob("*.safetensors")}
    assert {model["hashes"][0]["content"] for model in models} >= hashes
    assert "dinov2-vit-s14" in {model["name"] for model in models}


def test_the_bill_is_the_same_twice_and_names_no_path(bill):
    text = json.dumps(bill)
    assert text == json.dumps(sbom.bill(OURS))
    assert str(ROOT) not in text
    assert "file:" not in text

"""The page of licences names what is needed, all of it is free to use, and the bill of materials has the weights."""

import hashlib
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import licences
import pytest
import sbom
from distributions import ROOT, distributions, third_party
from packaging.utils import canonicalize_name


def test_the_page_names_everything_that_is_needed():
    assert third_party(distributions()) <= set(map(canonicalize_name, licences.names())), "run: make licences"


def allowed(names, licence=licences.ALLOWED) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("piplicenses", reason="pip-licenses is in .ci/requirements.txt")
    options = ["--from=mixed", "--partial-match", "--allow-only", licence, "--packages", *names]
    return subprocess.run([sys.executable, "-m", "piplicenses", *options], capture_output=True, text=True, check=False)


def test_all_that_runs_with_vlmad_is_free_to_use_and_pass_on():
    here = [name for name in licences.names() if is_installed(name)]
    assert len(here) > 40
    done = allowed(here)
    assert done.returncode == 0, done.stderr


def test_a_licence_that_is_not_allowed_is_found():
    assert allowed(["packaging", "pydantic"], "GPL").returncode == 1


def is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def test_the_page_has_every_notice_word_for_word():
    notices = [ours.folder / "NOTICE" for ours in distributions() if (ours.folder / "NOTICE").exists()]
    page = licences.PAGE.read_text(encoding="utf-8")
    assert ROOT / "plugins" / "vlmad-pocket" / "NOTICE" in notices
    assert page.endswith(licences.notices()), "run: make licences"


def test_every_file_of_weights_stands_in_a_notice_of_its_wheel():
    found = [(ours, path) for ours in distributions() for path in ours.package.rglob("*.safetensors")]
    assert len(found) >= 2
    for ours, path in found:
        assert "NOTICE" in ours.project["license-files"]
        assert path.name in (ours.folder / "NOTICE").read_text(encoding="utf-8")


def bill(*names: str):
    """As cyclonedx-py writes it, with these distributions."""
    local = {"type": "distribution", "url": f"file://{ROOT}"}
    web = {"type": "website", "url": "https://example.org"}
    parts = [{"name": name, "externalReferences": [local, web]} for name in names]
    return {"metadata": {"component": {"name": "vlmad-core", "externalReferences": [local]}}, "components": parts}


def test_weights_in_the_bill_have_the_hash_of_the_file():
    made = sbom.complete(bill("vlmad-core", "vlmad-pocket"))
    models = [component for component in made["components"] if component.get("type") == "machine-learning-model"]
    package = ROOT / "plugins" / "vlmad-pocket" / "vlmad_pocket"
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in package.glob("*.safetensors")}
    assert {model["hashes"][0]["content"] for model in models} == hashes
    assert "dinov2-vit-s14" in {model["name"] for model in models}


def test_weights_that_are_not_installed_are_not_in_the_bill():
    assert [component["name"] for component in sbom.complete(bill("vlmad-core"))["components"]] == ["vlmad-core"]


def test_the_bill_names_no_path_of_the_machine():
    made = sbom.complete(bill("vlmad-core", "torch"))
    assert str(ROOT) not in json.dumps(made)
    assert made["components"][1]["externalReferences"] == [{"type": "website", "url": "https://example.org"}]

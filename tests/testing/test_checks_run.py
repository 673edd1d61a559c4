"""How checks are run and told: reports, known failures, pytest, the command line; and every part here passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vlmad_core.builtin.memory import Memory
from vlmad_core.builtin.plugin import MemoryConfig
from vlmad_core.cli.__main__ import app
from vlmad_core.errors import ConfigError, UnknownComponentError
from vlmad_core.registry.registry import default_registry
from vlmad_core.testing import CheckFailed, check_component, memory_registry, parametrize_checks
from vlmad_core.testing.checks import CHECKS, TAGS
from vlmad_core.testing.run import Subject, _Test, subjects

WITH_WEIGHTS = {  # architectures small enough for a test, with random weights
    "vlmad-timm:timm": {"model": "test_vit", "pretrained": "random"},
    "vlmad-pocket:pocket": {"image_size": 56},
}
LATER = {"memory_does_not_grow"}
"""Measured for some parts in other files; for all of them by `vlmad check`."""


def everything() -> list[Subject]:
    """Each entry that is installed, and each distribution."""
    found: dict[str, Subject] = {}
    for plugin in default_registry().plugins:
        for subject in subjects(plugin.name):
            if subject.kind in (
                "command",
                "opinion",
                "executor",
            ):  # tested by its plugin and test_every_command_of_a_plugin_has_help
                continue
            config = WITH_WEIGHTS.get(subject.name)
            if config and subject.kind == "backbone":
                subject = Subject(subject.plugin, subject.entry, subject.registry, config, None)
            found[f"{subject.name} {subject.kind}"] = subject
    return list(found.values())


@pytest.mark.parametrize("subject", everything(), ids=lambda subject: f"{subject.name}-{subject.kind}")
def test_everything_that_is_installed_passes(subject):
    subject.checks = tuple(check for check in subject.checks if check.name not in LATER)
    outcomes = list(subject.run())
    assert [f"{outcome.check}: {outcome.message}" for outcome in outcomes if outcome.status == "failed"] == []
    assert Counter(outcome.status for outcome in outcomes)["passed"] >= 3


@pytest.mark.parametrize("entry", list(default_registry().entries("command")), ids=lambda entry: entry.full_name)
def test_every_command_of_a_plugin_has_help(entry):
    done = CliRunner().invoke(app, [entry.name, "--help"])
    assert done.exit_code == 0, done.output
    assert f"vlmad {entry.name}" in done.output.replace("root", "vlmad") and entry.load() is not None


@pytest.mark.slow
@pytest.mark.parametrize("subject", everything(), ids=lambda subject: f"{subject.name}-{subject.kind}")
def test_nothing_that_is_installed_leaks(subject):
    subject.checks = tuple(check for check in subject.checks if check.name in LATER)
    assert [outcome.message for outcome in subject.run() if outcome.status == "failed"] == []


# -- what a check is


def test_every_check_has_a_rule_and_a_sentence_to_skip_it():
    for check in CHECKS.values():
        assert check.rule.endswith("."), check.name
        assert "\n" not in check.rule, check.name
        assert not check.needs or check.needs in TAGS, check.name


# -- known failures


class Known(Memory):
    known_failures = {"forget_empties_the_memory": "forgetting is not supported by the device"}  # noqa: RUF012

    def forget(self):
        pass


class KnownNoMore(Memory):
    known_failures = {"forget_empties_the_memory": "long ago"}  # noqa: RUF012


class KnownByAnotherName(Memory):
    known_failures = {"forget_empties_memory": "a slip"}  # noqa: RUF012


def test_a_known_failure_is_told_with_its_reason_and_spoils_nothing(offered):
    subject = offered("scorer", Known, MemoryConfig)
    subject.checks = tuple(check for check in subject.checks if check.name not in LATER)
    outcomes = {outcome.check: outcome for outcome in subject.run()}
    outcome = outcomes["forget_empties_the_memory"]
    assert outcome.status == "known"
    assert outcome.message.startswith("forgetting is not supported by the device (is_fitted is True")
    assert not [outcome for outcome in outcomes.values() if outcome.status == "failed"]


def test_a_known_failure_that_passes_is_a_failure(broken):
    found = broken("scorer", KnownNoMore, MemoryConfig, "forget_empties_the_memory")
    assert found == {
        "forget_empties_the_memory": "it passes now; remove 'forget_empties_the_memory' from known_failures."
    }


def test_a_known_failure_of_no_check_is_a_failure(broken):
    found = broken("scorer", KnownByAnotherName, MemoryConfig)
    assert "Did you mean 'forget_empties_the_memory'?" in found["forget_empties_memory"]


@pytest.mark.parametrize(("target", "end"), [(Known, pytest.xfail.Exception), (KnownNoMore, CheckFailed)])
def test_a_known_failure_in_pytest(offered, target, end):
    subject = offered("scorer", target, MemoryConfig)
    with pytest.raises(end):
        _Test(subject, CHECKS["forget_empties_the_memory"])()


# -- reports


def test_a_report_counts_what_ran_and_what_was_skipped():
    report = check_component("vlmad-core:folders", registry=memory_registry())
    assert report.failures == ()
    assert report.ran + report.count("skipped") == len(report.outcomes)
    assert report.count("skipped") >= 5
    assert all(outcome.message for outcome in report.outcomes if outcome.status == "skipped")
    sentence = report.as_json()
    assert (sentence["ran"], sentence["skipped"]) == (report.ran, report.count("skipped"))
    assert {"subject", "kind", "check", "status", "message", "seconds"} == sentence["checks"][0].keys()


def test_a_check_that_stops_is_a_failure_that_names_the_rule(broken):
    class Stops(Memory):
        def forward(self, features, text_embeddings, size):
            raise IndexError("out of range")

    message = broken("scorer", Stops, MemoryConfig, "outputs_are_finite")["outputs_are_finite"]
    assert message == "it stopped with IndexError: out of range. Make it hold that everything that it gives is finite."


@pytest.mark.parametrize(
    ("name", "options", "error", "sentence"),
    [
        ("memroy", {}, UnknownComponentError, "Did you mean 'memory'"),
        (
            "vlmad-core",
            {"config": {"layers": [1]}},
            ConfigError,
            "options are for one part, and 'vlmad-core' has several",
        ),
    ],
)
def test_a_name_that_cannot_be_checked_is_refused(name, options, error, sentence):
    with pytest.raises(error, match=sentence):
        check_component(name, **options, registry=memory_registry())


def test_options_reach_the_part(offered):
    subject = subjects("vlmad-core:patches", config={"layers": [9]}, registry=memory_registry())[1]
    assert subject.case().part.layers == (9,)  # on a deeper tiny backbone


# -- pytest


@parametrize_checks("vlmad-core:templates", registry=memory_registry())
def test_checks_are_tests(check):
    assert callable(check)


def test_each_check_is_a_test_with_a_name():
    (mark,) = test_checks_are_tests.pytestmark
    assert "vlmad-core:templates-text_embeddings_have_unit_length" in [case.id for case in mark.args[1]]


def test_the_registry_of_a_test_holds_the_builtins_alone(vlmad_registry, vlmad_backbone):
    assert default_registry() is vlmad_registry
    assert {plugin.name for plugin in vlmad_registry.plugins} == {"vlmad-core", "in-memory"}
    assert vlmad_backbone.text is not None


def test_afterwards_the_registry_is_that_of_the_environment():
    assert default_registry().get("backbone", "pocket")


def test_the_fixtures_cost_a_test_run_that_does_not_use_them_nothing(tmp_path):
    (tmp_path / "test_other.py").write_text(
        "import sys\ndef test(): assert not {'torch', 'pydantic', 'vlmad_core.testing.run'} & sys.modules.keys()"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE", "PYTEST"))
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:cov",
        "-c",
        os.devnull,
        "--fixtures",
    ]
    listed = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, env=environment, check=True)
    assert "vlmad_registry" in listed.stdout
    done = subprocess.run([*command[:-1], str(tmp_path)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout


# -- the command line


def test_check_tells_what_ran_and_leaves_with_0():
    done = CliRunner().invoke(app, ["check", "vlmad-core:folders"])
    assert done.exit_code == 0, done.output
    assert "were skipped; --all tells why: none broken" in done.stdout
    assert "vlmad-core:folders" in done.stdout


def test_check_in_json(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.pgm").write_text("P2 1 1 255 9")
    done = CliRunner().invoke(app, ["check", "vlmad-core:folders", "--root", str(tmp_path), "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["failed"], report["name"]) == (0, 0, "vlmad-core:folders")
    read = next(check for check in report["checks"] if check["check"] == "reads_its_example")
    assert read["status"] == "passed"
    assert read["rule"].startswith("The example gives samples")


def test_check_leaves_with_1_where_a_rule_is_broken(tmp_path):
    (tmp_path / "notes.txt").touch()
    done = CliRunner().invoke(app, ["check", "vlmad-core:folders", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "failed  vlmad-core:folders (dataset) fits_its_example: fits(" in done.stdout


def test_check_refuses_an_example_that_is_not_there(tmp_path):
    assert CliRunner().invoke(app, ["check", "folders", "--root", str(tmp_path / "no")]).exit_code == 2


def test_every_check_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    assert [check.name for check in CHECKS.values() if f"| `{check.name}` | {check.rule} |" not in page] == []

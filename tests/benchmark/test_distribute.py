"""Through an executor come the same rows, to the last bit; this process alone writes, and a lost job is named."""

from __future__ import annotations

import pickle
from concurrent.futures import Executor, Future

import pytest

import vlmad_core
from vlmad_core.benchmark import distribute
from vlmad_core.benchmark import run as runner
from vlmad_core.errors import ConfigError, VlmadError

pytestmark = pytest.mark.usefixtures("_found_parts")


class Elsewhere(Executor):
    """Runs a call at once on what pickle makes of it, as another process would."""

    def __init__(self, lose=()):
        self.jobs, self.lose = 0, lose

    def submit(self, fn, /, *args, **kwargs):
        self.jobs += 1
        future = Future()
        if self.jobs in self.lose:
            future.set_exception(RuntimeError("the worker died"))
            return future
        fn, args, kwargs = pickle.loads(pickle.dumps((fn, args, kwargs)))
        future.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))
        return future


@pytest.fixture
def _found_parts(monkeypatch, registry):
    for module in (runner, distribute):
        monkeypatch.setattr(module, "default_registry", lambda: registry)


def message(results):
    numbers = [
        {name: value for name, value in row.items() if name not in ("seconds", "images_per_second")}
        for row in results.rows
    ]
    files = {path.name: path.read_bytes() for path in (results.folder / "scores").iterdir()}
    return numbers, files


def test_rows_and_scores_are_the_same_bit_by_bit(make_plan, tmp_path):
    plan = make_plan(methods=["words", "remember"], shots=[0, 2], seeds=2, batch_size=4)
    here = vlmad_core.run_benchmark(plan, tmp_path / "here", tables=False)
    executor = Elsewhere()
    there = vlmad_core.run_benchmark(plan, tmp_path / "there", tables=False, executor=executor)
    assert len(there.done) > 6
    assert message(there) == message(here)
    assert there.passes == here.passes
    assert executor.jobs == 2  # a category each
    assert not (tmp_path / "there" / ".features").exists()


def test_a_lost_job_is_named_after_the_others_are_safe_and_the_same_call_goes_on(make_plan, tmp_path):
    with pytest.raises(VlmadError, match=r"1 of 2 jobs ended .*things/kind_0 \(RuntimeError: the worker died\)"):
        vlmad_core.run_benchmark(make_plan(), tmp_path / "out", tables=False, executor=Elsewhere(lose=[1]))
    executor = Elsewhere()
    results = vlmad_core.run_benchmark(make_plan(), tmp_path / "out", tables=False, executor=executor)
    assert executor.jobs == 1
    assert message(results) == message(vlmad_core.run_benchmark(make_plan(), tmp_path / "here", tables=False))


def test_nothing_is_shared_out_when_every_row_is_there(make_plan, tmp_path):
    vlmad_core.run_benchmark(make_plan(), tmp_path / "out", tables=False)
    executor = Elsewhere()
    vlmad_core.run_benchmark(make_plan(), tmp_path / "out", tables=False, executor=executor)
    assert executor.jobs == 0


def test_a_cell_that_fails_elsewhere_is_a_row(make_plan, tmp_path):
    plan = make_plan(methods=["remember"], shots=[2, 9])
    results = vlmad_core.run_benchmark(plan, tmp_path / "out", tables=False, executor=Elsewhere())
    assert {row["status"] for row in results.rows} == {"done", "failed"}


def test_a_registry_and_an_executor_are_refused(make_plan, registry, tmp_path):
    with pytest.raises(ConfigError, match="give run_benchmark a registry or an executor"):
        vlmad_core.run_benchmark(make_plan(), tmp_path / "out", registry=registry, executor=Elsewhere())
    assert not (tmp_path / "out").exists()

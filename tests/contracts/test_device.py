import pytest
import torch

from vlmad_core.contracts import find_device
from vlmad_core.errors import ConfigError


def test_the_cpu_is_always_there():
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "nonsense", "meta", ""])
def test_a_device_that_does_not_work_is_refused(name):
    with pytest.raises(ConfigError, match=r"is not there .*Take 'cpu', which every machine has, or 'auto'\."):
        find_device(name)


@pytest.mark.parametrize(
    ("working", "wanted"), [({"cuda", "mps"}, "cuda"), ({"mps"}, "mps"), (set(), "cpu")], ids=["cuda", "mps", "cpu"]
)
def test_auto_takes_the_first_that_works(monkeypatch, working, wanted):
    real = torch.empty

    def empty(*shape, device):
        if device.type not in {*working, "cpu"}:
            raise RuntimeError("no such device")
        return real(*shape)

    monkeypatch.setattr("vlmad_core.contracts.device.torch.empty", empty)
    assert find_device("auto").type == wanted

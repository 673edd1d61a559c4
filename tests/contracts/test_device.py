import pytest
import torch

from vlmad_core.contracts import find_device
from vlmad_core.contracts.device import slow_precision, to_device
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


def test_several_devices_are_refused_where_one_is_wanted():
    with pytest.raises(ConfigError, match="'cpu,cpu' names several devices, which `vlmad predict` alone"):
        find_device("cpu,cpu")


def test_images_get_the_type_of_the_weights_and_keep_their_gradients():
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    moved = to_device(images, torch.device("cpu"), torch.bfloat16)
    assert moved.dtype == torch.bfloat16
    moved.float().sum().backward()
    assert torch.equal(images.grad, torch.ones_like(images))


@pytest.mark.parametrize(
    ("known", "dtype", "slow"),
    [
        ({"avx512_bf16": True}, torch.bfloat16, False),
        ({"avx2": True}, torch.bfloat16, True),
        ({"avx512_bf16": True}, torch.float16, True),
        ({"avx512_fp16": True}, torch.float16, False),
        ({"avx2": True}, torch.float32, False),
        ({}, torch.float16, False),
    ],
)
def test_a_precision_that_the_processor_lacks_is_called_slow(monkeypatch, known, dtype, slow):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert bool(slow_precision(torch.device("cpu"), dtype)) == slow

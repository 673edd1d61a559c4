import io
import pickle
import zipfile

import pytest
import torch

from vlmad_core.contracts.torchscript import has_quick_gelu, is_torchscript, read_torchscript
from vlmad_core.contracts.weights_file import read_weights
from vlmad_core.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class QuickGELU(torch.nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = torch.nn.Parameter(torch.randn(3, 2))
        self.register_buffer("mask", torch.ones(2))
        self.act = QuickGELU()

    def forward(self, x):
        return self.act(x @ self.proj * self.mask)


class Model(torch.nn.Module):
    def __init__(self, quick=True):
        super().__init__()
        self.visual = Inner() if quick else torch.nn.Linear(3, 2)
        self.norm = torch.nn.LayerNorm(2)

    def forward(self, x):
        return self.norm(self.visual(x))


def scripted(path, model, *, half=False):
    model = model.half() if half else model
    x = torch.ones(1, 3, dtype=torch.float16 if half else torch.float32)
    torch.jit.save(torch.jit.trace(model, x), path)
    return path


@pytest.mark.parametrize("half", [False, True])
def test_every_tensor_is_read_by_its_name(tmp_path, half):
    model = Model()
    path = scripted(tmp_path / "m.pt", model, half=half)
    found, wanted = read_torchscript(path), model.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in wanted)
    assert read_weights(path).keys() == wanted.keys()


def test_the_activation_is_read_from_the_code_as_text(tmp_path):
    assert has_quick_gelu(scripted(tmp_path / "quick.pt", Model()))
    assert not has_quick_gelu(scripted(tmp_path / "plain.pt", Model(quick=False)))


def test_other_files_are_no_archives(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    assert not is_torchscript(tmp_path / "a.pt")
    assert is_torchscript(scripted(tmp_path / "m.pt", Model()))


class Evil:
    def __reduce__(self):
        return print, ("run",)


def archive(path, data, tensors=()):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/constants.pkl", b"")
        file.writestr("m/data.pkl", data)
        for name, content in tensors:
            file.writestr(f"m/data/{name}", content)
    return path


def test_what_is_neither_tensor_nor_module_is_refused_and_not_run(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"names \w+\.print"):
        read_torchscript(archive(tmp_path / "m.pt", pickle.dumps(Evil(), protocol=2)))
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"nonsense"])
def test_a_damaged_archive_is_refused(tmp_path, data):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_torchscript(archive(tmp_path / "m.pt", data))


def test_a_tensor_beyond_its_data_is_refused(tmp_path):
    path = scripted(tmp_path / "m.pt", Model())
    changed = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry)[:4] if "/data/" in entry else old.read(entry))
    path.write_bytes(changed.getvalue())
    with pytest.raises(ConfigError, match="cannot be read"):
        read_torchscript(path)

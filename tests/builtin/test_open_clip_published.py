"""Local copies of published weights: the right activation, mean and interpolation, or a refusal that asks."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vlmad_core.builtin import open_clip_published, open_clip_weights
from vlmad_core.builtin.open_clip import OpenClip
from vlmad_core.builtin.open_clip_config import OpenClipConfig
from vlmad_core.builtin.open_clip_published import by_hash, published, settle
from vlmad_core.contracts.weights_file import sha256_of
from vlmad_core.errors import ConfigError

open_clip = open_clip_weights.library()
OPENAI = open_clip.OPENAI_DATASET_MEAN
HALF = (0.5, 0.5, 0.5)
VISION = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 8, "image_size": 32}
TEXT = {"context_length": 77, "vocab_size": 600, "width": 48, "heads": 2, "layers": 2}
TINY = {"embed_dim": 40, "vision_cfg": VISION, "text_cfg": TEXT}


def quick(backbone):
    """Whether the first block computes x * sigmoid(1.702 x)."""
    block = backbone.vision.blocks[0]
    mlp, x = block.block.mlp, torch.randn(1, 3, 64)
    hidden = mlp.c_fc(block.block.ln_2(x))
    return torch.allclose(block.mlp(x), mlp.c_proj(hidden * torch.sigmoid(1.702 * hidden)), atol=1e-6)


@pytest.fixture
def tiny(monkeypatch):
    """An architecture with a quick-GELU twin, whose published weights differ, as those of ViT-L-14 do."""
    configs = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(configs, "tiny", TINY)
    monkeypatch.setitem(configs, "tiny-quickgelu", TINY | {"quick_gelu": True})
    entry = {"url": "", "hf_hub": "", "mean": OPENAI, "std": OPENAI, "interpolation": "bicubic"}
    tags = {
        "openai": entry | {"quick_gelu": True},
        "dfn": entry | {"quick_gelu": True},
        "laion400m": entry,
        "laion2b": entry | {"mean": HALF, "std": HALF},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED, "tiny-quickgelu", {tag: tags[tag] for tag in ("openai", "dfn")}
    )
    return tags


def model(kind="tiny"):
    torch.manual_seed(0)
    config = dict(open_clip.get_model_config(kind))
    return open_clip.CLIP(**config).eval()


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({key: value.contiguous() for key, value in model().state_dict().items()}, path)
    return path


def opened(path, name="tiny", **options):
    return OpenClip(OpenClipConfig(model=name, pretrained=str(path), **options))


@pytest.mark.parametrize(
    ("tag", "is_quick", "mean"),
    [("openai", True, OPENAI), ("dfn", True, OPENAI), ("laion400m", False, OPENAI), ("laion2b", False, HALF)],
)
@pytest.mark.parametrize("name", ["tiny", "tiny-quickgelu"])
def test_a_file_known_by_its_hash_has_its_own_activation_and_mean(tiny, weights, name, tag, is_quick, mean):
    tiny[tag]["sha256"] = sha256_of(weights)
    if name == "tiny-quickgelu" and not is_quick:
        tiny[tag]["quick_gelu"] = False
    backbone = opened(weights, name)
    assert (quick(backbone), tuple(backbone.preprocess.mean)) == (is_quick, mean)


@pytest.mark.parametrize(
    ("tag", "is_quick", "mean"), [("openai", True, OPENAI), ("laion400m", False, OPENAI), ("laion2b", False, HALF)]
)
def test_a_tag_says_what_an_unknown_file_holds(tiny, weights, tag, is_quick, mean):
    backbone = opened(weights, tag=tag)
    assert (quick(backbone), tuple(backbone.preprocess.mean)) == (is_quick, mean)


def test_an_unknown_file_is_asked_about_where_published_weights_differ(tiny, weights):
    with pytest.raises(ConfigError, match=r"not known.*openai, dfn with activation quick-gelu, .*; .*tag=openai"):
        opened(weights)
    with pytest.raises(ConfigError, match=r"laion2b with mean 0.5/0.5/0.5") as error:
        opened(weights, activation="gelu")
    assert "quick-gelu" not in str(error.value)
    assert quick(opened(weights, activation="quick-gelu"))  # all that have it have one mean
    assert quick(opened(weights, "tiny-quickgelu"))  # the architecture says so
    assert not quick(opened(weights, activation="gelu", mean=HALF, std=HALF))


def test_a_tag_that_does_not_exist_or_has_no_file_is_refused(tiny, weights):
    with pytest.raises(ConfigError, match=r"no published weights 'laion3b'\. Did you mean 'laion2b'"):
        opened(weights, tag="laion3b")
    with pytest.raises(ConfigError, match="name the file"):
        opened("random", tag="openai")


def test_a_configuration_beside_the_file_is_enough(tiny, weights):
    images = {"mean": list(HALF), "std": list(HALF), "interpolation": "bilinear"}
    beside = {"model_cfg": TINY | {"quick_gelu": True}, "preprocess_cfg": images}
    weights.with_name("open_clip_config.json").write_text(json.dumps(beside))
    backbone = opened(weights)
    assert quick(backbone) and tuple(backbone.preprocess.mean) == HALF
    assert backbone.preprocess.interpolation == "bilinear"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_torchscript_archive_brings_its_activation(tiny, tmp_path):
    path = tmp_path / "ViT.pt"

    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model("tiny-quickgelu")

        def forward(self, images):
            return self.inner.visual(images)

    traced = torch.jit.trace(Named(), torch.randn(1, 3, 32, 32), check_trace=False)
    torch.jit.save(traced.inner, path)
    backbone = opened(path)
    assert quick(backbone) and tuple(backbone.preprocess.mean) == OPENAI
    wanted = model("tiny-quickgelu").state_dict()
    assert torch.equal(backbone.vision.visual.proj, wanted["visual.proj"])


def test_a_folder_with_a_configuration_is_a_model(tiny, weights):
    with pytest.raises(ConfigError, match="must be a folder that holds"):
        opened("", f"local-dir:{weights.parent}")
    config = {"model_cfg": TINY | {"quick_gelu": True}, "preprocess_cfg": {"mean": list(HALF), "std": list(HALF)}}
    weights.with_name("open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="holds no weights"):
        opened("", f"local-dir:{weights.parent}")
    weights.rename(weights.with_name("open_clip_model.safetensors"))
    backbone = opened("", f"local-dir:{weights.parent}")
    assert quick(backbone) and tuple(backbone.preprocess.mean) == HALF
    weights.with_name("open_clip_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read as the configuration"):
        opened("", f"local-dir:{weights.parent}")


def test_numpy_files_are_of_google_alone(tiny, tmp_path):
    (tmp_path / "w.npz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match="npz files are Google's SigLIP"):
        opened(tmp_path / "w.npz", activation="quick-gelu")


def test_values_that_are_not_finite_are_refused(tiny, weights):
    state = {key: value.contiguous() for key, value in model().state_dict().items()}
    state["visual.ln_post.weight"][3] = float("nan")
    save_file(state, weights)
    with pytest.raises(ConfigError, match=r"1 tensors hold NaN or infinite values \(visual.ln_post.weight\)"):
        opened(weights, tag="openai")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 605143208\n", "pointer of git LFS"),
        (b"<!DOCTYPE html><title>404</title>\xc3\xb6", "a text file"),
        (b"Entry not found\n", "a text file"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_text_in_place_of_weights_is_named(tiny, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=says) as error:
        opened(tmp_path / name, tag="openai")
    assert "unpickling" not in str(error.value)


# ----------------------------------------------------------------------------------------- the table that open_clip has


def test_the_table_knows_openais_files_by_hash():
    name = "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"  # ViT-L-14-336px.pt
    found = by_hash("ViT-L-14-336", name)
    assert found is not None and (found.tag, found.is_quick) == ("openai", True)
    assert by_hash("ViT-L-14-336", "0" * 64) is None


@pytest.mark.parametrize(
    ("name", "quick_tags", "other_tags"),
    [
        ("ViT-B-16", {"openai", "dfn2b", "metaclip_400m"}, {"laion400m_e31", "laion2b_s34b_b88k"}),
        ("ViT-L-14", {"openai", "dfn2b", "metaclip_fullcc"}, {"laion2b_s32b_b82k", "datacomp_xl_s13b_b90k"}),
    ],
)
def test_published_weights_have_the_activation_they_were_trained_with(name, quick_tags, other_tags):
    found = {entry.tag: entry.is_quick for entry in published(name)}
    for tags, wanted in ((quick_tags, True), (other_tags, False)):
        assert {found[tag] for tag in tags & found.keys()} <= {wanted}
    assert found["openai"]


def test_laion2b_of_the_large_model_has_a_mean_of_its_own():
    found = settle("ViT-L-14", {}, is_quick=False, tag="laion2b_s32b_b82k", sha256="", where="w.bin")
    assert (found["activation"], found["mean"], found["std"]) == ("gelu", HALF, HALF)


def test_an_architecture_with_one_kind_of_published_weights_asks_nothing():
    found = settle("ViT-B-16-plus-240", {}, is_quick=False, tag="", sha256="0" * 64, where="w.pt")
    assert (found["activation"], found["mean"]) == ("gelu", OPENAI)


def test_an_architecture_without_published_weights_is_as_it_is_configured():
    found = settle("ViT-S-32-alt", {}, is_quick=False, tag="", sha256="0" * 64, where="w.pt")
    assert (found["activation"], found["mean"], found["interpolation"]) == ("gelu", OPENAI, "bicubic")


def test_hashes_are_read_from_the_addresses(monkeypatch):
    digest = "ab" * 32
    table = {
        "full": {"url": f"https://example.org/{digest}/w.pt", "hf_hub": ""},
        "short": {"url": "https://example.org/v0.2/vit-w-12345678.pt", "hf_hub": ""},
        "none": {"url": "", "hf_hub": "a/b"},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", table)
    assert {entry.tag: entry.sha256 for entry in open_clip_published.published("tiny")} == {
        "full": digest,
        "short": "12345678",
        "none": "",
    }
    assert open_clip_published.by_hash("tiny", "12345678" + "0" * 56).tag == "short"

"""Sentences from captions, their text embeddings with and without learned vectors, and what is saved of them."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vlmad_core
from vlmad_core.contracts import encode_text, import_with_torchvision, l2_normalize
from vlmad_core.errors import ConfigError, IncompatibleError
from vlmad_core.registry import validate
from vlmad_core.testing import parametrize_checks, tiny_backbone
from vlmad_fine_grained.caption_prompts import CaptionPrompts
from vlmad_fine_grained.captions import Captions, PartCaption, form_of
from vlmad_fine_grained.plugin import CaptionPromptsConfig
from vlmad_fine_grained.sentences import sentences_of

TEST_SET_DEFECTS = {"scratch", "hole", "bent", "crack", "contamination", "cut", "print", "squeeze", "poke", "thread"}


@parametrize_checks("vlmad-fine-grained:captions")
def test_contract(check):
    check()


@parametrize_checks("vlmad-fine-grained:fine-grained")
def test_recipe(check):
    check()


@pytest.fixture
def made(tray):
    def make(**options):
        torch.manual_seed(0)
        backbone = tiny_backbone()
        return CaptionPrompts(CaptionPromptsConfig(captions=tray, **options), backbone), backbone.text

    return make


# -- sentences


def test_each_level_has_normal_sentences_from_the_captions_and_abnormal_ones_by_substitution(tray):
    image, nut, bar, ground = sentences_of(tray, "ignored")
    assert [level.kind for level in (image, nut, bar, ground)] == ["image", "part", "part", "background"]
    assert image.normal == ("a flawless tray of nuts", "two nuts and a bar")
    assert nut.normal == ("a flawless nut", "2 nuts", "a nut at the left", "nut, beside the bar")
    assert bar.normal == ("a flawless bar", "one bar", "bar, brown")
    assert ground.normal == ("a clean dark tray",)
    assert nut.abnormal == (
        "a missing nut",
        "an extra nut",
        "a misplaced nut",
        "a damaged nut",
        "a broken nut",
        "a discoloured nut",
    )
    assert "a tray of nuts with an extra bar" in image.abnormal


def test_no_state_is_the_name_of_a_defect_of_a_data_set(tray):
    words = {word for level in sentences_of(tray, "") for phrase in level.abnormal for word in phrase.split()}
    assert words & TEST_SET_DEFECTS == set()


def test_without_captions_there_is_the_image_alone_with_the_class_name():
    (image,) = sentences_of(Captions(), "metal_nut")
    assert image.normal == ("a flawless metal nut",)


# -- text embeddings


@torch.no_grad()
def test_untrained_each_state_is_the_mean_of_its_sentences(made, tray):
    prompts, text = made()
    assert list(prompts.parameters()) == []
    found = prompts(text, ["anything"])
    assert found.abnormal.tolist() == [False, True] * 4
    assert found.vectors.shape == (1, 8, 16)
    nut = sentences_of(tray, "")[1]
    for state, phrases in ((2, nut.normal), (3, nut.abnormal)):
        wanted = l2_normalize(l2_normalize(encode_text(text, [f"a photo of {one}." for one in phrases])).mean(0))
        torch.testing.assert_close(found.vectors[0, state], wanted)


@torch.no_grad()
def test_vectors_that_are_words_give_what_the_words_give(made):
    prompts, text = made(n_context=3, n_abnormal=0)
    plain, _ = made()
    torch.testing.assert_close(prompts(text, [""]).vectors, plain(text, [""]).vectors)


@pytest.mark.parametrize(
    "options", [{"n_context": 2}, {"n_context": 5, "n_abnormal": 2}, {"n_context": 1, "n_abnormal": 0}]
)
def test_every_learned_vector_gets_a_gradient_and_sentences_add_up(made, options):
    prompts, text = made(**options)
    found = prompts(text, [""]).vectors
    (found * torch.randn_like(found)).sum().backward()
    assert all((parameter.grad.abs().sum(-1) > 0).all() for parameter in prompts.parameters())
    with torch.no_grad():
        parts = prompts.text_parts(text, "")
        summed = torch.zeros(8, 16).index_add(0, torch.tensor([one.state for one in parts.sentences]), parts.vectors)
    torch.testing.assert_close(summed, found.detach()[0])


@torch.no_grad()
def test_losses_are_zero_where_vectors_are_the_words_and_grow_where_they_are_not(made):
    prompts, text = made(n_context=3)
    _, losses = prompts.forward_with_losses(text, [""])
    assert float(losses["regularisation"]) == pytest.approx(0, abs=1e-5)
    assert float(losses["alignment"]) > 0
    prompts.ctx_normal.add_(torch.randn_like(prompts.ctx_normal))
    embeddings, moved = prompts.forward_with_losses(text, [""])
    assert float(moved["regularisation"]) > 0.01
    torch.testing.assert_close(embeddings.vectors, prompts(text, [""]).vectors)
    assert made()[0].forward_with_losses(text, [""])[1] == {}


# -- refused, saved, loaded


def test_a_file_that_is_wrong_or_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such captions file; `vlmad captions` makes one"):
        validate(CaptionPromptsConfig, {"captions": str(tmp_path / "none.yaml")})
    (tmp_path / "bad.yaml").write_text("parts: [{name: nut, number: 0}]")
    with pytest.raises(ConfigError, match="number"):
        validate(CaptionPromptsConfig, {"captions": str(tmp_path / "bad.yaml")})


def test_sentences_longer_than_the_text_encoder_are_refused(tray):
    long = tray.model_copy(update={"foreground": "word " * 40})
    for options in ({}, {"n_context": 2}):
        with pytest.raises(IncompatibleError, match=r"too long|do not fit"):
            CaptionPrompts(CaptionPromptsConfig(captions=long, **options), tiny_backbone())


def test_a_saved_detector_needs_no_captions_file_and_scores_the_same(tray, make_detector, tmp_path):
    path = tmp_path / "captions.yaml"
    path.write_text(form_of(tray))
    one = make_detector(str(path), n_context=2)
    one.trained = {"data": {"name": "a test"}}
    one.save(tmp_path / "out")
    path.unlink()
    other = vlmad_core.load(tmp_path / "out", backbone=tiny_backbone())
    assert other.prompts.captions == tray
    image = (torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)).permute(1, 2, 0) * 255).byte().numpy()
    assert other.predict(image).score == one.predict(image).score
    assert other.fingerprint().weights == one.fingerprint().weights


@pytest.mark.parametrize("more", [(), (PartCaption(name="cookie", number=1),)])
def test_learned_vectors_are_refused_with_captions_of_other_parts(tray, make_detector, tmp_path, more):
    parts = (*tray.parts[:1], *more)
    one = make_detector(tray.model_dump(mode="json"), n_context=2)
    one.trained = {"data": {"name": "a test"}}
    one.save(tmp_path / "out")
    path = tmp_path / "other.yaml"
    path.write_text(form_of(tray.model_copy(update={"parts": parts})))
    with pytest.raises(ConfigError, match=f"learned for captions of 2 parts, and these captions have {len(parts)}"):
        vlmad_core.load(tmp_path / "out", backbone=tiny_backbone(), overrides={"prompts.config.captions": str(path)})


@pytest.mark.skipif(find_spec("open_clip") is None, reason="open_clip is not installed")
def test_on_clip_from_a_local_file_the_sentences_of_its_tokenizer_are_used(tray, tmp_path, monkeypatch):
    """With small random weights: the path, not what real weights would give."""
    open_clip = import_with_torchvision("open_clip")
    tower = {"layers": 2, "width": 32, "heads": 2}
    tiny = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, **tower},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny)
    save_file(open_clip.create_model("tiny", pretrained=None).state_dict(), tmp_path / "weights.safetensors")
    spec = {
        "backbone": {
            "use": "open-clip",
            "config": {"model": "tiny", "pretrained": str(tmp_path / "weights.safetensors")},
        },
        "extractor": "vlmad-core:patches",
        "prompts": {
            "use": "vlmad-fine-grained:captions",
            "config": {"captions": tray.model_dump(mode="json"), "n_context": 3, "n_abnormal": 0},
        },
        "scorers": ["vlmad-fine-grained:captions"],
    }
    one = vlmad_core.build(spec)
    assert one.prompts.ctx_normal.shape == (4, 3, 32)
    plain = vlmad_core.build(spec, overrides={"prompts.config.n_context": 0})
    with torch.no_grad():  # three learned vectors begin as the three words "a photo of"
        torch.testing.assert_close(one.text_embeddings([""]).vectors, plain.text_embeddings([""]).vectors)
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    assert 0 <= plain.predict(image).score <= 1

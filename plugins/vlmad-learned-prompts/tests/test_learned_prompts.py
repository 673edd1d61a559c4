"""Learned prompts: where they stand, what learns, what is refused, and that the text tower stays as it was."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_core.contracts import find_slots, word_vectors
from vlmad_core.registry.validate import validate
from vlmad_core.testing import tiny_backbone
from vlmad_learned_prompts.learned import Learned
from vlmad_learned_prompts.plugin import LearnedConfig

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)


def learned(backbone, **options):
    return Learned(LearnedConfig(**options), backbone)


# -- where they stand


def test_the_vectors_of_a_plain_sentence_give_its_anchor():
    backbone = tiny_backbone()
    prompts = learned(backbone, length=4, deep_length=2, depth=1, init="a photo of a", normal="fine {}.")
    expected = vlmad_core.contracts.encode_text(backbone.text, ["a photo of a fine object."])
    torch.testing.assert_close(prompts.encode(backbone.text, ["object"])[:, 0], expected)


@torch.no_grad()
def test_deep_prompts_overwrite_their_positions_in_their_blocks_alone():
    backbone = tiny_backbone(depth=5)
    text, prompts = backbone.text, learned(backbone, length=5, deep_length=2, depth=3)
    x, ids, first = prompts.assemble(text, ["object"])
    x = text.add_positions(x)
    for i, block in enumerate(text.blocks, start=1):
        if i in (2, 3):
            x[:, first : first + 2] = prompts.deep[i - 2]
        x = block(x, text.mask)
    torch.testing.assert_close(prompts.encode(text, ["object"])[0], text.pool(x, ids))


@torch.no_grad()
def test_both_states_have_their_own_words_and_vectors():
    backbone = tiny_backbone()
    prompts = learned(backbone, length=3, deep_length=1, normal="good {}.", abnormal="broken {}.", word="thing")
    x, ids, first = prompts.assemble(backbone.text, ["thing"])
    assert ids.tolist() == backbone.text.tokenize(["X X X good thing.", "X X X broken thing."]).tolist()
    for row, own in zip(x, (prompts.ctx_normal, prompts.ctx_abnormal), strict=True):
        assert torch.equal(row[first : first + 3], own)
    plain = backbone.text.embed(ids)
    assert torch.equal(x[:, :first], plain[:, :first])
    assert torch.equal(x[:, first + 3 :], plain[:, first + 3 :])


def test_placeholders_are_found_wherever_a_tokenizer_puts_them():
    backbone = tiny_backbone()
    ids, first = find_slots(backbone.text, "object.", 3)
    assert first == 1
    assert ids.tolist() == backbone.text.tokenize(["X X X object."])[0].tolist()
    _, later = find_slots(backbone.text, "object.", 3, front="a photo of")
    assert later == 4
    assert torch.equal(
        word_vectors(backbone.text, "a photo"), backbone.text.embed(backbone.text.tokenize(["a photo"]))[0, 1:3]
    )


def test_a_tokenizer_without_a_start_is_fine():
    whole = tiny_backbone().text
    bare = SimpleNamespace(tokenize=lambda texts: whole.tokenize(texts)[:, 1:])
    assert find_slots(bare, "object.", 3)[1] == 0


# -- what learns


@pytest.mark.parametrize("options", [{}, {"class_wise": True}, {"half": True}, {"depth": 1}])
def test_every_parameter_gets_a_gradient(options):
    backbone = tiny_backbone()
    prompts = learned(backbone, **options)
    text_embeddings = prompts(backbone.text, ["metal nut", "cable"]).vectors
    (text_embeddings * torch.randn_like(text_embeddings)).sum().backward()
    assert list(prompts.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in prompts.parameters())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("class_wise", [False, True])
def test_gradients_are_exact(class_wise):
    backbone = tiny_backbone(dtype=torch.float64, width=8, dim=4)
    prompts = learned(backbone, length=3, deep_length=2, class_wise=class_wise).double()
    names = [name for name, _ in prompts.named_parameters()]

    def encode(*values):
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(prompts, given, (backbone.text, ["nut", "cable", "nut"])).vectors

    assert torch.autograd.gradcheck(encode, tuple(prompts.parameters()))


def test_half_rounds_on_the_way_in_and_each_gradient_on_the_way_back():
    backbone = tiny_backbone()
    prompts = learned(backbone, half=True, length=2, deep_length=2, depth=2)
    x = torch.randn(2, 6, 32)
    out = prompts._insert(1, 2, x)
    assert torch.equal(out[:, 1:3], prompts.deep[0].half().float().expand(2, -1, -1))
    weights = torch.full((2, 6, 32), 1 + 2**-12)
    weights[1] = 2**-26  # vanishes in float16
    (out * weights).sum().backward()
    assert torch.equal(prompts.deep.grad, torch.ones_like(prompts.deep))


def test_the_state_is_what_was_learned_and_nothing_else():
    """AnomalyCLIP on ViT-L/14: 2 x 12 + 8 x 4 vectors of length 768."""
    tokenize = tiny_backbone().text.tokenize
    text = SimpleNamespace(width=768, blocks=range(12), tokenize=tokenize)
    prompts = Learned(LearnedConfig(), SimpleNamespace(text=text))
    shapes = {name: tuple(tensor.shape) for name, tensor in prompts.state_dict().items()}
    assert shapes == {"ctx_normal": (12, 768), "ctx_abnormal": (12, 768), "deep": (8, 4, 768)}
    assert sum(tensor.numel() for tensor in prompts.state_dict().values()) == 43_008


@pytest.mark.parametrize(("blocks", "depth"), [(12, 9), (5, 3), (3, 2), (1, 1)])
def test_deep_prompts_reach_three_quarters_of_the_tower(blocks, depth):
    prompts = learned(tiny_backbone(depth=blocks))
    assert prompts.depth == depth
    assert (prompts.deep is None) == (depth == 1)


# -- starting from words


def test_words_to_begin_with_stand_next_to_the_sentence():
    backbone = tiny_backbone()
    prompts = learned(backbone, init="a photo of a")
    words = word_vectors(backbone.text, "a photo of a")
    assert torch.equal(prompts.ctx_normal[-4:], words)
    assert torch.equal(prompts.ctx_abnormal[-4:], words)
    assert prompts.ctx_normal[:-4].std() < 0.03


def test_a_random_start_follows_the_seed():
    backbone = tiny_backbone()
    starts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        starts.append(learned(backbone).state_dict())
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert not torch.equal(starts[0]["deep"], starts[2]["deep"])
    assert abs(starts[0]["ctx_normal"].std() - 0.02) < 0.003


# -- names


@torch.no_grad()
def test_an_object_is_an_object_whatever_it_is_called():
    backbone = tiny_backbone()
    prompts = learned(backbone)
    vectors = prompts(backbone.text, ["nut", "cable"]).vectors
    assert prompts.class_name_use == "ignored"
    assert vectors.shape == (2, 2, 16)
    assert torch.equal(vectors[0], vectors[1])
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 2))


@torch.no_grad()
def test_class_wise_prompts_say_the_name_and_keep_its_order():
    backbone = tiny_backbone()
    prompts = learned(backbone, class_wise=True)
    together = prompts(backbone.text, ["metal_nut", "cable", "metal_nut"]).vectors
    assert prompts.class_name_use == "required"
    for row, name in enumerate(("metal nut", "cable", "metal nut")):
        torch.testing.assert_close(together[row], prompts(backbone.text, [name]).vectors[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[1])


def test_a_name_too_long_for_the_tower_is_refused():
    backbone = tiny_backbone()
    with pytest.raises(vlmad_core.errors.IncompatibleError, match="do not fit into the 32 positions"):
        learned(backbone, class_wise=True)(backbone.text, ["very " * 20 + "long nut"])


# -- keeping


@torch.no_grad()
def test_a_change_in_place_is_seen_at_once():
    detector = vlmad_core.build("anomalyclip", backbone=tiny_backbone())
    before = detector.text_embeddings(["object"]).vectors
    assert torch.equal(detector.text_embeddings(["object"]).vectors, before)
    detector.prompts.deep.mul_(-50)
    assert not torch.allclose(detector.text_embeddings(["object"]).vectors, before)


def test_the_text_tower_is_left_as_it_was():
    backbone = tiny_backbone()
    before, modules = copy.deepcopy(backbone.state_dict()), dict(backbone.named_modules())
    prompts = learned(backbone, init="a photo of a")
    prompts(backbone.text, ["nut"]).vectors.sum().backward()
    assert dict(backbone.named_modules()) == modules
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules.values())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


@torch.no_grad()
def test_bfloat16_stays_close():
    full, small = tiny_backbone(), tiny_backbone(dtype=torch.bfloat16)
    prompts = learned(full)
    one = prompts(full.text, ["nut"]).vectors
    other = prompts(small.text, ["nut"]).vectors
    assert other.dtype == torch.float32
    assert torch.cosine_similarity(one, other, dim=-1).min() > 0.99


# -- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depth": 4}, "depth 4 leaves this text tower, which has 3 blocks; take 1 to 3"),
        ({"length": 28}, "28 learned vectors in front of 'damaged object.' do not fit into the 32 positions"),
        ({"length": 2, "deep_length": 1, "init": "a photo of a"}, "has 4 pieces, and there are 2 learned vectors"),
        ({"word": "very " * 40}, "take a smaller length, or fewer words"),
    ],
)
def test_what_does_not_fit_the_tower_is_refused(options, said):
    with pytest.raises(vlmad_core.errors.IncompatibleError, match=said):
        learned(tiny_backbone(), **options)


def test_the_longest_sentence_that_fits_is_taken():
    backbone = tiny_backbone()
    prompts = learned(backbone, length=27)  # start, 27, "damaged", "object", ".", end: all 32 positions
    assert prompts(backbone.text, ["nut"]).vectors.isfinite().all()


def test_no_text_is_refused():
    with pytest.raises(vlmad_core.errors.IncompatibleError, match="take one with text"):
        learned(tiny_backbone(text=False))
    with pytest.raises(vlmad_core.errors.IncompatibleError, match="need a backbone with text"):
        vlmad_core.build("anomalyclip", backbone=tiny_backbone(text=False))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 3}, "deep_length must be at most length, which is 3"),
        ({"depth": 0}, "depth"),
        ({"normal": "{name}."}, "the only placeholder is {}"),
        ({"abnormal": " "}, "a state needs a word"),
        ({"class_wise": True, "normal": "good.", "abnormal": "bad."}, "class_wise needs {}"),
        ({"n_ctx": 12}, "no such option"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"prompts\.config") as error:
        validate(LearnedConfig, options, "prompts.config", "learned")
    assert said in str(error.value)

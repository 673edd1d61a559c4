"""Published checkpoints become our tensors; what is damaged, foreign or a program is refused in a sentence."""

import os
import pickle
import zipfile

import pytest
import torch

import vlmad_core
from vlmad_core.testing import tiny_backbone
from vlmad_learned_prompts.checkpoint import convert

WIDTH = 32


def layout(width=WIDTH, length=12, deep=8, deep_length=4, context=77):
    """Random tensors in the true layout, with everything that the authors' code stores."""
    state = {}
    for side, more in (("pos", 0), ("neg", 1)):
        state[f"ctx_{side}"] = torch.randn(1, 1, length, width)
        state[f"token_prefix_{side}"] = torch.randn(1, 1, 1, width)
        state[f"token_suffix_{side}"] = torch.randn(1, 1, context - 1 - length, width)
        state[f"tokenized_prompts_{side}"] = torch.randint(1, 49408, (1, 1, context)) + more
    for i in range(deep):
        state[f"compound_prompts_text.{i}"] = torch.randn(deep_length, width)
        state[f"compound_prompt_projections.{i}.weight"] = torch.randn(896, width)
        state[f"compound_prompt_projections.{i}.bias"] = torch.randn(896)
    return state


@pytest.fixture
def write(tmp_path):
    def run(state, wrap=True):
        path = tmp_path / "epoch_15.pth"
        torch.save({"prompt_learner": state} if wrap else state, path)
        return path

    return run


def test_the_vectors_that_count_are_kept_and_the_rest_dropped(write):
    state = layout()
    found = convert(write(state))
    assert set(found) == {"prompts.ctx_normal", "prompts.ctx_abnormal", "prompts.deep"}
    assert torch.equal(found["prompts.ctx_normal"], state["ctx_pos"][0, 0])
    assert torch.equal(found["prompts.ctx_abnormal"], state["ctx_neg"][0, 0])
    assert all(torch.equal(found["prompts.deep"][i], state[f"compound_prompts_text.{i}"]) for i in range(8))


def test_a_real_one_has_43008_numbers(write):
    assert sum(tensor.numel() for tensor in convert(write(layout(width=768))).values()) == 43_008


def test_what_is_read_fits_the_recipe(write):
    detector = vlmad_core.build("anomalyclip", backbone=tiny_backbone(depth=12, width=WIDTH))
    found = convert(write(layout()))
    assert {name for name, _ in detector.named_parameters()} == set(found)
    detector.load_state_dict(found, strict=False)
    assert torch.equal(detector.prompts.deep, found["prompts.deep"])


def test_more_than_ten_deep_prompts_keep_their_order(write):
    state = layout(deep=11)
    assert torch.equal(convert(write(state))["prompts.deep"][10], state["compound_prompts_text.10"])


def test_half_precision_and_a_file_without_the_unused_tensors_will_do(write):
    state = {name: tensor.half() for name, tensor in layout(deep=0).items() if name.startswith("ctx")}
    found = convert(write(state))
    assert set(found) == {"prompts.ctx_normal", "prompts.ctx_abnormal"}
    assert all(tensor.dtype == torch.float32 for tensor in found.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ctx_pos": None}, "lacks ctx_pos"),
        ({"compound_prompts_text.3": None}, "lacks compound_prompts_text.3"),
        ({"visual.proj": torch.zeros(2)}, "holds also visual.proj"),
        ({"ctx_pos": torch.zeros(15, 1, 12, WIDTH)}, "15 x 1 x 12 x 32, and 1 x 1 x length x width is needed"),
        ({"ctx_pos": torch.zeros(12, WIDTH)}, "ctx_pos has shape 12 x 32"),
        ({"ctx_neg": torch.zeros(1, 1, 11, WIDTH)}, "ctx_neg has shape 1 x 1 x 11 x 32, and 1 x 1 x 12 x 32 goes"),
        (
            {"compound_prompts_text.2": torch.zeros(5, WIDTH)},
            "compound_prompts_text.2 has shape 5 x 32, and 4 x 32 goes",
        ),
        ({"compound_prompts_text.0": torch.tensor(1.0)}, "compound_prompts_text.0 has shape of a single number"),
        ({"compound_prompt_projections.7.bias": None}, "compound_prompt_projections.7 does not read vectors"),
        ({"compound_prompt_projections.7.weight": torch.zeros(896, 7)}, "does not read vectors of length 32"),
        ({"compound_prompt_projections.8.weight": torch.zeros(896, WIDTH)}, "has 8 deep prompts and 9 projections"),
        ({"token_prefix_pos": torch.zeros(1, 1, 2, WIDTH)}, "token_prefix_pos has shape"),
        ({"token_suffix_neg": torch.zeros(1, 1, 60, WIDTH)}, "1 x 1 x 64 x 32 goes with the rest"),
        (
            {"ctx_pos": torch.full((1, 1, 12, WIDTH), float("nan"))},
            "ctx_normal holds values that are no finite numbers",
        ),
        ({"ctx_neg": torch.zeros(1, 1, 12, WIDTH, dtype=torch.int64)}, "no finite numbers"),
        ({"tokenized_prompts_pos": torch.tensor(1)}, "token_suffix_pos has shape"),
        ({"compound_prompt_projections.7.bias": torch.tensor(1.0)}, "compound_prompt_projections.7 does not read"),
        ({"ctx_pos": torch.zeros(1, 1, 12, WIDTH).to_sparse()}, "holds something that is not a plain tensor"),
        ({"ctx_pos": [1.0, 2.0]}, "holds something that is not a plain tensor"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(write, change, said):
    state = {name: value for name, value in (layout() | change).items() if value is not None}
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"epoch_15\.pth") as error:
        convert(write(state))
    assert said in str(error.value)
    assert str(error.value).endswith(".")


def test_more_deep_positions_than_vectors_are_refused(write):
    with pytest.raises(vlmad_core.errors.ConfigError, match="deep prompts have 13 positions"):
        convert(write(layout(deep_length=13)))


@pytest.mark.parametrize("held", [{}, {"prompt_learner": 3}, [torch.zeros(2)], {"trainable_linearlayer": {}}])
def test_another_kind_of_checkpoint_is_refused(write, held):
    with pytest.raises(vlmad_core.errors.ConfigError, match="has no 'prompt_learner'"):
        convert(write(held, wrap=False))


class Program:
    """What a malicious file would hold: unpickling it runs a command."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_program_is_refused_and_not_run(write, tmp_path):
    target = tmp_path / "ran"
    path = write(layout() | {"ctx_pos": Program(str(target))})
    with pytest.raises(vlmad_core.errors.ConfigError, match="could run code that is in it, so it is refused"):
        convert(path)
    assert not target.exists()


def test_a_compiled_program_is_refused(tmp_path):
    path = tmp_path / "epoch_15.pth"
    with zipfile.ZipFile(path, "w") as archive:  # what torch takes for TorchScript
        archive.writestr("epoch_15/constants.pkl", pickle.dumps(()))
        archive.writestr("epoch_15/data.pkl", pickle.dumps({}))
        archive.writestr("epoch_15/version", "3")
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"epoch_15\.pth"):
        convert(path)


def test_a_file_that_is_not_there_or_is_cut_is_refused(write, tmp_path):
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"epoch_16\.pth: cannot be read \(No such file"):
        convert(tmp_path / "epoch_16.pth")
    with pytest.raises(vlmad_core.errors.ConfigError, match="cannot be read"):
        convert(tmp_path)
    path = write(layout())
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"epoch_15\.pth"):
        convert(path)
    path.write_bytes(b"")
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"epoch_15\.pth"):
        convert(path)

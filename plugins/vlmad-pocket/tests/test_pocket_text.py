"""The half that reads keeps the contracts, reads any string, and its words mean something on pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlmad_core import build
from vlmad_core.contracts import Block, TextTower, encode_text, forward_blocks, l2_normalize, softmax_similarity
from vlmad_core.contracts.images import read
from vlmad_core.errors import ConfigError, IncompatibleError
from vlmad_pocket import weights
from vlmad_pocket.plugin import PocketConfig
from vlmad_pocket.text import CONTEXT, END, PAD, START, PocketText
from vlmad_pocket.vision import Pocket

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
PICTURES = Path(__file__).parent / "generated"
LONG = "a very long story about a metal nut " * 20


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return Pocket(PocketConfig(words=True))


@pytest.fixture(scope="module")
def text(pocket: Pocket) -> PocketText:
    assert isinstance(pocket.text, PocketText)
    return pocket.text


def test_it_is_a_frozen_text_tower(text: PocketText) -> None:
    assert isinstance(text, TextTower)
    assert all(isinstance(block, Block) for block in text.blocks)
    assert (text.width, text.dim, len(text.blocks)) == (256, 256, 5)
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in text.parameters())
    assert text.mask is not None
    assert text.mask.shape == (CONTEXT, CONTEXT)


@torch.no_grad()
def test_block_law(text: PocketText) -> None:
    ids = text.tokenize(["a photo of a damaged nut.", "nut"])
    x = text.add_positions(text.embed(ids))
    for block in text.blocks:
        y = x + block.attend(*block.qkv(x), text.mask)
        torch.testing.assert_close(block(x, text.mask), y + block.mlp(y), **CLOSE)
        x = block(x, text.mask)


@torch.no_grad()
def test_padding_changes_nothing(text: PocketText) -> None:
    sentences = ["nut", "a photo of a nut with a long scratch on the left side."]
    ids = text.tokenize(sentences)
    whole, _ = forward_blocks(text.blocks, text.add_positions(text.embed(ids)), mask=text.mask)
    torch.testing.assert_close(text.pool(whole, ids), encode_text(text, sentences), **CLOSE)
    other = ids.masked_fill(ids == PAD, 77)
    there, _ = forward_blocks(text.blocks, text.add_positions(text.embed(other)), mask=text.mask)
    torch.testing.assert_close(text.pool(there, ids), text.pool(whole, ids), **CLOSE)
    torch.testing.assert_close(encode_text(text, sentences[:1]), encode_text(text, sentences)[:1], **CLOSE)


@pytest.mark.parametrize(
    "sentence", ["", " ", "nut", "Ünïcödé", "漢字かな", "🙂🙃", "</s><pad>", "\x00\n\t", "xqzwvk", "a" * 25]
)
def test_any_string_can_be_read(text: PocketText, sentence: str) -> None:
    (ids,) = text.tokenize([sentence])
    assert ids.shape == (CONTEXT,)
    assert ids[0] == START
    assert (ids == END).sum() == 1
    assert (ids[int((ids == END).int().argmax()) + 1 :] == PAD).all()
    assert int(ids.max()) < len(text.words)
    with torch.no_grad():
        assert encode_text(text, [sentence]).isfinite().all()


def test_different_strings_differ(text: PocketText) -> None:
    ids = text.tokenize(["漢", "字", "🙂", "🙃", "nut", "nuts"])
    assert len({tuple(row.tolist()) for row in ids}) == 6
    same = text.tokenize(["a  damaged\tNUT", "a damaged nut"])
    assert torch.equal(same[0], same[1])


def test_too_long_is_refused(text: PocketText) -> None:
    with pytest.raises(IncompatibleError, match=f"is too long: this text tower reads {CONTEXT} tokens"):
        text.tokenize(["nut", LONG])
    assert text.trim(text.tokenize(["nut"])).shape[1] < 6


def test_deep_prompts_and_injected_tokens_learn(text: PocketText) -> None:
    ids = text.trim(text.tokenize(["X X X X nut."]))
    words = text.embed(ids)
    context = torch.zeros(1, 4, text.width, requires_grad=True)
    deep = torch.zeros(4, text.width, requires_grad=True)
    x = torch.cat([words[:, :1], context, words[:, 5:]], dim=1)

    def insert(i: int, x: Tensor) -> Tensor:
        return torch.cat([x[:, :1], deep.expand(len(x), -1, -1), x[:, 5:]], dim=1) if i == 3 else x

    assert text.mask is not None
    length = x.shape[1]
    y, _ = forward_blocks(text.blocks, text.add_positions(x), mask=text.mask[:length, :length], before=insert)
    text.pool(y, ids)[:, 0].sum().backward()
    assert deep.grad is not None
    assert deep.grad.abs().sum() > 0
    y, _ = forward_blocks(text.blocks, text.add_positions(x), mask=text.mask[:length, :length])
    text.pool(y, ids)[:, 0].sum().backward()
    assert context.grad is not None
    assert context.grad.abs().sum() > 0


@torch.no_grad()
def test_synonyms_never_used_in_captions_lie_on_their_side(text: PocketText) -> None:
    def side(states: list[str]) -> Tensor:
        return l2_normalize(l2_normalize(encode_text(text, [f"a photo of {state}" for state in states])).mean(0))

    axis = side(["a damaged nut", "a nut with a defect"]) - side(["a flawless nut", "a nut without defect"])
    good = l2_normalize(
        encode_text(text, ["a photo of a pristine nut", "a photo of an intact nut", "a photo of a spotless nut"])
    )
    bad = l2_normalize(
        encode_text(text, ["a photo of a scuffed nut", "a photo of a chipped nut", "a photo of a tarnished nut"])
    )
    assert (bad @ axis).min() > (good @ axis).max()


def generated() -> tuple[list[str], list[bool]]:
    paths = sorted(PICTURES.glob("*.jpg"))
    return [str(path) for path in paths], [not path.name.startswith("normal") for path in paths]


def auroc(scores: list[float], truth: list[bool]) -> float:
    pairs = [
        (a > b) + (a == b) / 2
        for a, bad in zip(scores, truth, strict=True)
        for b, worse in zip(scores, truth, strict=True)
        if bad and not worse
    ]
    return sum(pairs) / len(pairs)


@torch.no_grad()
def test_words_matter_on_generated_pictures(pocket: Pocket, text: PocketText) -> None:
    paths, truth = generated()
    cells = []
    for batch in read(paths, pocket.preprocess):
        pixels = torch.stack([picture.pixels for picture in batch if picture.pixels is not None])
        tokens, _ = forward_blocks(pocket.vision.blocks, pocket.vision.embed(pixels)[0])
        cells.append(pocket.vision.project(pocket.vision.norm(tokens[:, 1:])))

    def maps(*sides: list[str]) -> Tensor:
        text_embeddings = torch.stack(
            [
                l2_normalize(l2_normalize(encode_text(text, [s.replace("{}", "object") for s in side])).mean(0))
                for side in sides
            ]
        )
        seen = torch.cat(cells)
        return softmax_similarity(seen, text_embeddings.expand(len(seen), -1, -1), 0.07)[..., 1]

    def found(probability: Tensor) -> float:
        return auroc(probability.amax(1).tolist(), truth)

    good, bad = ["a flawless {}", "a {} without defect"], ["a damaged {}", "a {} with a defect"]
    right = maps(good, bad)
    assert found(right) > 0.6
    torch.testing.assert_close(maps(bad, good), 1 - right, rtol=0, atol=1e-4)
    unseen = maps(["a pristine {}", "an intact {}"], ["a scuffed {}", "a chipped {}", "a blemished {}"])
    assert found(unseen) > found(right) - 0.1
    nonsense = maps(["a wurble {}", "a river {}"], ["a krindle {}", "a monday {}"])
    assert (nonsense - 0.5).abs().mean() < 0.5 * (right - 0.5).abs().mean()


@torch.no_grad()
def test_the_recipes_run_on_a_picture() -> None:
    paths, _ = generated()
    zero = build("pocket").predict(paths[0], "plate")
    assert zero.raw_map.shape == (224, 224)
    assert 0 < zero.score < 1
    few = build("pocket-few-shot").fit(paths[1:3], "plate").predict(paths[0])
    assert few.raw_map.shape == (224, 224)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the backbone, by links where nothing is changed."""
    for path in Path(weights.__file__).parent.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in Path(weights.__file__).parent.glob("*.safetensors"):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("file", ["joint.safetensors", "tokenizer.json"])
def test_a_changed_or_missing_file_is_refused(elsewhere: Path, file: str) -> None:
    data = (elsewhere / file).read_bytes()
    (elsewhere / file).unlink()
    (elsewhere / file).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    def use() -> None:
        text = Pocket(PocketConfig(words=True)).text
        assert text is not None
        text.tokenize(["nut"])

    with pytest.raises(ConfigError, match=f"{file} is damaged or was changed; reinstall vlmad-pocket"):
        use()
    (elsewhere / file).unlink()
    with pytest.raises(ConfigError, match=r"missing .*reinstall vlmad-pocket"):
        use()


def test_the_library_tokenizers_waits_for_the_first_sentence() -> None:
    code = (
        "import json, sys; from vlmad_pocket.plugin import PocketConfig; from vlmad_pocket.vision import Pocket;"
        "p = Pocket(PocketConfig(words=True)); before = 'tokenizers' in sys.modules; p.text.tokenize(['nut']);"
        "print(json.dumps([before, 'tokenizers' in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(run.stdout) == [False, True]

"""Equal to the numbers recorded from the authors' code on tiny random towers, each array within its own tolerance."""

import pytest
import torch
from PIL import Image
from tiny_clip import check, recorded, tiny_clip

import vlmad_core
from vlmad_april_gan.linear_maps import Projections
from vlmad_april_gan.plugin import ProjectionsConfig
from vlmad_april_gan.transductive import rescale
from vlmad_core.contracts.images import open_image, to_pixels
from vlmad_core.contracts.ops import similarity_logits
from vlmad_core.contracts.towers import forward_blocks
from vlmad_core.training.losses import dice, focal

FILE = "april_gan"
TAPS = (6, 12, 18, 24)
NAMES = ["metal_nut"] * 3
SHOTS = {"few_a": 2, "few_b": 4}
LINEAR = [f"fc.{i}.{part}" for i in range(4) for part in ("weight", "bias")]


@pytest.fixture(scope="module")
def backbone():
    return tiny_clip("l14", activation="gelu")


@pytest.fixture(scope="module")
def queries():
    return recorded(FILE, "pixels")[0][:3]


@pytest.fixture(scope="module")
def references():
    return recorded(FILE, "pixels")[0][3:]


def detector(backbone, recipe="april-gan", references=()):
    """The recipe on the recorded towers, with the recorded projections and a memory of the references."""
    made = vlmad_core.build(recipe, backbone=backbone)
    made.extractor.load_state_dict({name: recorded(FILE, f"linear.{name}")[0] for name in LINEAR})
    with torch.no_grad():
        if len(references):
            made.scorers[1].fit(made.extractor(backbone.vision, references))
    return made


@torch.no_grad()
def test_pixels(backbone):
    for i in range(7):
        picture = open_image(recorded("images", f"image_{i}")[0].numpy())
        check(to_pixels(picture, backbone.preprocess), FILE, "pixels", i)


@torch.no_grad()
def test_stream_after_each_block(backbone, queries):
    vision = backbone.vision
    check(vision.positions((6, 6)), FILE, "positional_embedding_resized")
    check(vision.tokens(queries)[0], FILE, "t0")
    _, kept = forward_blocks(vision.blocks, vision.embed(queries)[0], layers=range(1, 25))
    check(torch.stack([kept[i][0] for i in range(1, 25)]), FILE, "blocks_image0")
    for layer in TAPS:
        check(kept[layer], FILE, f"stage{layer}_tokens")


@torch.no_grad()
def test_what_the_extractor_sees(backbone, queries, references):
    extractor = Projections(ProjectionsConfig(raw=True), backbone)
    assert extractor.layers == TAPS
    for pixels, name, first in ((queries, "tokens", 1), (references, "reference_tokens", 0)):
        seen = extractor.extract_frozen(backbone.vision, pixels)
        for layer in TAPS:
            check(seen[f"raw{layer}"].vectors, FILE, f"stage{layer}_{name}", (slice(None), slice(first, None)))
    check(extractor.extract_frozen(backbone.vision, queries).image, FILE, "image_features")


@torch.no_grad()
def test_projections_are_linear_with_a_bias(backbone, queries):
    made = detector(backbone)
    features = made.extractor(backbone.vision, queries)
    for i, layer in enumerate(TAPS):
        tokens, atol = recorded(FILE, f"stage{layer}_tokens")
        weight, bias = (recorded(FILE, f"linear.fc.{i}.{part}")[0] for part in ("weight", "bias"))
        # The rows of the weight add up what the tokens may deviate by.
        bound = atol * float(weight.abs().sum(1).max())
        torch.testing.assert_close(
            features[f"stage{layer}"].vectors, tokens[:, 1:] @ weight.T + bias, rtol=0, atol=bound
        )


@torch.no_grad()
def test_prompts(backbone):
    prompts, text = detector(backbone).prompts, backbone.text
    sentences = [s for states in prompts.states for s in prompts.sentences("metal_nut", states)]
    ids = text.tokenize(sentences)
    check(ids.int(), FILE, "prompt_ids", 0)
    some = slice(None, None, 7)
    x, _ = forward_blocks(text.blocks, text.add_positions(text.embed(ids[some])), mask=text.mask)
    check(text.pool(x, ids[some]), FILE, "prompt_features", (0, some))
    check(prompts(text, ["metal_nut"]).vectors, FILE, "prototypes")


@torch.no_grad()
def test_zero_shot_maps_and_scores(backbone, queries):
    made = detector(backbone)
    features, text_embeddings = made.extractor(backbone.vision, queries), made.text_embeddings(NAMES)
    scores = made(queries, NAMES)
    for layer in TAPS:
        grids = (
            similarity_logits(features[f"stage{layer}"].vectors, text_embeddings.vectors, 0.01)
            .movedim(-1, 1)
            .reshape(3, 2, 6, 6)
        )
        check(grids, FILE, f"zero.stage{layer}_logits")
        check(scores.levels[f"text-match/stage{layer}"], FILE, f"zero.stage{layer}_map")
    check(scores.anomaly_map, FILE, "zero.map")
    check(scores.image, FILE, "zero.score")


@torch.no_grad()
@pytest.mark.parametrize("shots", SHOTS)
def test_few_shot_distances_and_maps(backbone, queries, references, shots):
    made = detector(backbone, "april-gan-few-shot", references[: SHOTS[shots]])
    features, scores = made.extractor(backbone.vision, queries), made(queries, NAMES)
    for layer in TAPS:
        level = features[f"raw{layer}"]
        distances = level.to_map(made.scorers[1].distance(level, level.spec.name))
        check(distances, FILE, f"{shots}.stage{layer}_distance")
        if shots == "few_a":
            check(scores.levels[f"memory/raw{layer}"], FILE, f"few_a.stage{layer}_map")
    check(scores.anomaly_map, FILE, f"{shots}.map")


@torch.no_grad()
@pytest.mark.parametrize("shots", SHOTS)
def test_the_transductive_score_of_the_paper(backbone, queries, references, shots):
    few = detector(backbone, "april-gan-few-shot", references[: SHOTS[shots]])(queries, NAMES)
    zero = detector(backbone)(queries, NAMES)
    check(torch.from_numpy(rescale(zero.image.numpy(), few.anomaly_map.amax((1, 2)).numpy())), FILE, f"{shots}.score")


@torch.no_grad()
@pytest.mark.parametrize("shots", [0, 4])
def test_means_differ_from_sums_by_a_factor_alone(backbone, queries, references, shots):
    """With means, both halves of the few-shot map lie in [0, 1]; each half is the paper's, scaled."""
    suffix = "-few-shot" if shots else ""
    summed = detector(backbone, f"april-gan{suffix}", references[:shots])(queries, NAMES)
    mean = detector(backbone, f"april-gan-mean{suffix}", references[:shots])(queries, NAMES)
    words = sum(summed.levels[f"text-match/stage{layer}"] for layer in TAPS) / 4
    if not shots:
        torch.testing.assert_close(mean.anomaly_map, words)
        torch.testing.assert_close(mean.image, summed.image)
    else:
        memory = sum(summed.levels[f"memory/raw{layer}"] for layer in TAPS) / 8
        torch.testing.assert_close(mean.anomaly_map, (words + memory) / 2)
        assert mean.anomaly_map.max() <= 1


def test_losses_and_gradients(backbone, queries):
    made = detector(backbone).train()
    masks = recorded(FILE, "train.masks")[0]
    with torch.no_grad():
        seen = made.extractor.extract_frozen(backbone.vision, queries)
        text_embeddings = made.text_embeddings(NAMES)
    scores = made.score_features(made.extractor.apply_learned(seen), text_embeddings, (84, 84))
    maps = [scores.levels[f"text-match/stage{layer}"] for layer in TAPS]
    terms = {"focal": torch.stack([focal(m, masks) for m in maps]), "dice": torch.stack([dice(m, masks) for m in maps])}
    loss = sum(term.sum() for term in terms.values())
    loss.backward()
    for name, term in terms.items():
        check(term.detach(), FILE, f"train.{name}")
    check(loss.detach(), FILE, "train.loss", ...)
    for name, parameter in made.extractor.named_parameters():
        check(parameter.grad, FILE, f"train.grad.{name}")


def test_masks(backbone):
    """The recorded masks are those of our reading, so that a loss on our own reading is the recorded one."""
    for i in range(3):
        mask = recorded("images", f"mask_{i}")[0].numpy()
        small = Image.fromarray(((mask > 0) * 255).astype("uint8")).resize((84, 84), Image.Resampling.BILINEAR)
        pixels = to_pixels(small.convert("RGB"), vlmad_core.contracts.Preprocess((84, 84), (0.0,) * 3, (1.0,) * 3))
        check((pixels[0] > 0.5).float(), FILE, "train.masks", i)


@torch.no_grad()
def test_another_activation_or_border_is_another_number(queries):
    """The recorded tolerance tells the variants apart: quick GELU, corners not aligned, softmax before the resize."""
    expected, atol = recorded(FILE, "zero.map")
    quick = detector(tiny_clip("l14", activation="quick-gelu"))(queries, NAMES).anomaly_map
    assert (quick - expected).abs().max() > 100 * atol
    for option in ({"align_corners": False}, {"upsample": "probability"}):
        made = vlmad_core.build(
            "april-gan",
            backbone=tiny_clip("l14"),
            overrides={f"scorers.0.config.{name}": value for name, value in option.items()},
        )
        made.extractor.load_state_dict({name: recorded(FILE, f"linear.{name}")[0] for name in LINEAR})
        assert (made(queries, NAMES).anomaly_map - expected).abs().max() > 100 * atol

"""AnomalyCLIP equals the numbers recorded from its own code: prompts, maps, scores, losses, gradients."""

import pytest
import torch
from tiny_clip import check, recorded, tiny_clip

import vlmad_core
from vlmad_core.training.losses import cross_entropy, dice, focal

FILE = "anomalyclip"
DEEP = range(8)
TAPS = {"all": (6, 12, 18, 24), "last": (24,)}


@pytest.fixture(scope="module")
def backbone():
    return tiny_clip("l14", activation="quick-gelu", positions="bilinear")


def given(name):
    return recorded(FILE, f"prompt.{name}")[0]


def build(backbone, layers="last", **options):
    """The recipe with the recorded parameters."""
    changes = {"extractor.config.layers": TAPS[layers]}
    changes |= {f"prompts.config.{name}": value for name, value in options.items()}
    detector = vlmad_core.build("anomalyclip", backbone=backbone, overrides=changes)
    state = {
        "ctx_normal": given("ctx_pos")[0, 0],
        "ctx_abnormal": given("ctx_neg")[0, 0],
        "deep": torch.stack([given(f"compound_prompts_text.{i}") for i in DEEP]),
    }
    detector.prompts.load_state_dict(state)
    return detector


def pixels():
    return recorded(FILE, "pixels")[0]


@torch.no_grad()
def test_token_ids_and_assembled_prompts(backbone):
    x, ids, first = build(backbone).prompts.assemble(backbone.text, ["object"])
    assert first == 1
    check(ids.int(), FILE, "prompt_ids")
    check(x, FILE, "prompts")


@torch.no_grad()
def test_text_features(backbone):
    check(build(backbone).prompts.encode(backbone.text, ["object"])[0], FILE, "text_features")


@torch.no_grad()
@pytest.mark.parametrize("options", [{"half": False}, {"depth": 8}, {"depth": 10}, {"deep_length": 3}])
def test_a_near_miss_is_told_apart(backbone, options):
    prompts, expected = build(backbone).prompts, recorded(FILE, "text_features")[0]
    other = vlmad_core.build(
        "anomalyclip", backbone=backbone, overrides={f"prompts.config.{name}": value for name, value in options.items()}
    ).prompts
    for name, parameter in other.named_parameters():
        own = prompts.get_parameter(name)
        if name == "deep":
            shared = own[: len(parameter), : parameter.shape[1]]
            parameter[: len(shared)] = shared
        else:
            parameter.copy_(own)
    assert (other.encode(backbone.text, ["object"])[0] - expected).abs().max() > 5e-4


@torch.no_grad()
@pytest.mark.parametrize("layer", TAPS["all"])
def test_probabilities_and_maps_of_each_layer(backbone, layer):
    detector = build(backbone, "all")
    features = detector.extractor(backbone.vision, pixels())
    text_embeddings = detector.text_embeddings(["metal_nut"] * 3)
    scorer = detector.scorers[0]
    check(scorer.probability(features[f"local{layer}"].vectors, text_embeddings), FILE, f"probability{layer}")
    check(scorer(features, text_embeddings, (84, 84)).levels[f"local{layer}"], FILE, f"map{layer}")


@torch.no_grad()
@pytest.mark.parametrize("layers", TAPS)
def test_maps_and_scores(backbone, layers):
    detector = build(backbone, layers)
    scores = detector(pixels())
    check(scores.anomaly_map, FILE, f"{layers}.map")
    check(scores.image, FILE, f"{layers}.score")
    rough = vlmad_core.pipeline.Fuse()(
        [
            detector.scorers[0](
                detector.extractor(backbone.vision, pixels()), detector.text_embeddings(["object"] * 3), (84, 84)
            )
        ],
        ["words"],
    )
    check(rough.anomaly_map, FILE, f"{layers}.map_before_smoothing")


@pytest.mark.parametrize("layers", TAPS)
def test_losses_and_gradients(backbone, layers):
    detector = build(backbone, layers).train()
    masks, labels = recorded(FILE, "train.masks")[0], recorded(FILE, "train.labels")[0]
    scores = detector(pixels())
    maps = list(scores.levels.values())
    image = cross_entropy(scores.image, labels)
    focals = torch.stack([focal(p, masks) for p in maps])
    dices = torch.stack([torch.stack([dice(p, masks), dice(1 - p, 1 - masks)]) for p in maps])
    loss = image + 4 * (focals.sum() + dices.sum())
    run = f"train_{layers}"
    check(image.detach(), FILE, f"{run}.cross_entropy", ...)
    check(focals.detach(), FILE, f"{run}.focal")
    check(dices.detach(), FILE, f"{run}.dice")
    check(loss.detach(), FILE, f"{run}.loss", ...)
    loss.backward()
    check(detector.prompts.ctx_normal.grad[None, None], FILE, f"{run}.grad.ctx_pos")
    check(detector.prompts.ctx_abnormal.grad[None, None], FILE, f"{run}.grad.ctx_neg")
    for i in DEEP:
        check(detector.prompts.deep.grad[i], FILE, f"{run}.grad.compound_prompts_text.{i}")


def test_the_weights_of_the_losses_are_the_papers():
    recipe = vlmad_core.registry.default_registry().get("recipe", "anomalyclip").item
    assert [recipe.training[name] for name in ("cross_entropy", "focal", "dice", "dice_normal")] == [1, 4, 4, 4]


@torch.no_grad()
def test_a_checkpoint_in_the_published_layout_gives_the_published_numbers(backbone, tmp_path):
    from vlmad_core.training.published import import_checkpoint

    names = ["ctx_pos", "ctx_neg", *(f"compound_prompts_text.{i}" for i in DEEP)]
    torch.save({"prompt_learner": {name: given(name) for name in names}}, tmp_path / "epoch_15.pth")
    detector = vlmad_core.build("anomalyclip", backbone=backbone)
    import_checkpoint(detector, tmp_path / "epoch_15.pth", recipe="anomalyclip", trained_on="visa", epoch=15)
    detector.save(tmp_path / "detector")
    scores = vlmad_core.load(tmp_path / "detector", backbone=backbone)(pixels())
    check(scores.anomaly_map, FILE, "last.map")
    check(scores.image, FILE, "last.score")

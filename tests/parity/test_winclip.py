"""WinCLIP equals the numbers recorded from four programs, on tiny random towers, within each array's own tolerance."""

import pytest
import torch
from tiny_clip import check, recorded, tiny_clip

import vlmad_core
from vlmad_compositional.compositional import Compositional
from vlmad_compositional.plugin import CompositionalConfig
from vlmad_core.contracts.ops import nearest_distance
from vlmad_winclip.plugin import WindowsConfig
from vlmad_winclip.windows import Windows, window_cells

SHOTS = {"few_a": 2, "few_b": 4, "few4": 4}
PRESETS = {"anomalib": "winclip-anomalib", "zq": "winclip-zq", "mala": "winclip-mala", "paper": "winclip"}


@pytest.fixture(scope="module")
def square():
    return tiny_clip("b16")


@pytest.fixture(scope="module")
def oblong():
    return tiny_clip("b16", image_size=(80, 112))


def build(preset, backbone, *, shots=0, file="winclip", name="metal_nut", queries=3):
    """A detector with the preset's recipe, fitted on the recorded reference pixels."""
    detector = vlmad_core.build(PRESETS[preset] + ("-few-shot" if shots else ""), backbone=backbone)
    detector.class_name = name
    pixels, _ = recorded(file, "pixels")
    if shots:
        with torch.no_grad():
            references = pixels[queries : queries + shots]
            detector.scorers[1].fit(detector.extractor(backbone.vision, references))
    return detector, pixels[:queries]


@torch.no_grad()
def look(detector, pixels):
    features = detector.extractor(detector.backbone.vision, pixels)
    return features, detector.text_embeddings(["metal_nut"] * len(pixels)), detector(pixels)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("side", [2, 3])
def test_window_features_and_cells(square, side, chunk):
    with torch.no_grad():
        features = Windows(WindowsConfig(chunk=chunk), square)(square.vision, recorded("winclip", "pixels")[0])
    check(features[f"window{side}"].vectors, "winclip", f"window{side}_features")
    check(features.image, "winclip", "image_features")
    check(window_cells((5, 5), side), "winclip", f"window{side}_cells")


def test_patch_features_with_and_without_the_last_norm(square):
    pixels, _ = recorded("winclip", "pixels")
    with torch.no_grad():
        raw = Windows(WindowsConfig(), square)(square.vision, pixels)["patch"].vectors
        normed = Windows(WindowsConfig(patch_norm=True), square)(square.vision, pixels)["patch"].vectors
    check(raw[:3], "winclip", "patch_features")
    check(raw[3:], "winclip", "reference_patch_features")
    check(normed, "winclip", "patch_features_ln_post")


@pytest.mark.parametrize("count", ["21", "22"])
@pytest.mark.parametrize("underscores", ["keep", "spaces"])
def test_prompt_ids(square, count, underscores):
    config = CompositionalConfig(templates=f"winclip-{count}", underscores=underscores)
    prompts = Compositional(config, square)
    sentences = [s for states in prompts.states for s in prompts.sentences("metal_nut", states)]
    name = f"prompt_ids_{count}" + ("_spaces" if underscores == "spaces" else "")
    check(square.text.tokenize(sentences).int(), "winclip", name, 0)


@pytest.mark.parametrize("count", ["21", "22"])
@pytest.mark.parametrize(("average", "underscores"), [("raw", "keep"), ("unit", "spaces")])
def test_prototypes(square, count, average, underscores):
    config = CompositionalConfig(templates=f"winclip-{count}", average=average, underscores=underscores)
    with torch.no_grad():
        prototypes = Compositional(config, square).prototypes(square.text, "metal_nut")
    suffix = "_spaces" if underscores == "spaces" else ""
    check(prototypes, "winclip", f"prototypes_{count}_mean_of_{average}{suffix}", 0)


@pytest.mark.parametrize("preset", ["anomalib", "zq", "paper"])
def test_zero_shot_windows_and_maps(square, preset):
    detector, pixels = build(preset, square)
    features, text_embeddings, scores = look(detector, pixels)
    scorer = detector.scorers[0]
    for side in (2, 3):
        probability = scorer.probability(features[f"window{side}"].vectors, text_embeddings)
        check(probability, "winclip", f"{preset}.zero.window{side}_prob")
        if preset != "paper":
            cells = features[f"window{side}"].to_map(probability, "harmonic")
            check(cells, "winclip", f"{preset}.zero.map{side}")
    check(scores.image, "winclip", f"{preset}.zero.score")
    if preset != "zq":
        check(scores.anomaly_map, "winclip", f"{preset}.zero.map")


def test_zero_shot_image_score_of_mala(square):
    detector, pixels = build("mala", square)
    check(look(detector, pixels)[2].image, "winclip", "mala.zero.score")


@pytest.mark.parametrize("shots", ["few_a", "few_b"])
@pytest.mark.parametrize("preset", ["anomalib", "zq"])
def test_few_shot_association(square, preset, shots):
    detector, pixels = build(preset, square, shots=SHOTS[shots])
    features, _, _ = look(detector, pixels)
    memory = detector.scorers[1]
    for side in (2, 3):
        level = features[f"window{side}"]
        values = nearest_distance(level.vectors, memory.bank(f"window{side}"))
        check(values, "winclip", f"{preset}.{shots}.v_window{side}")
        check(level.to_map(values, "harmonic"), "winclip", f"{preset}.{shots}.v_map{side}")
    patch = nearest_distance(features["patch"].vectors, memory.bank("patch")).reshape(3, 5, 5)
    check(patch, "winclip", f"{preset}.{shots}.v_patch")


@pytest.mark.parametrize(
    ("preset", "shots", "what"),
    [
        ("anomalib", "few_a", "map"),
        ("anomalib", "few_b", "map"),
        ("anomalib", "few_a", "score"),
        ("anomalib", "few_b", "score"),
        ("zq", "few_a", "map"),
        ("zq", "few_a", "score"),
        ("zq", "few_b", "score"),
        ("paper", "few_a", "map"),
        ("paper", "few_a", "score"),
        ("paper", "few_b", "score"),
        ("mala", "few4", "score"),
    ],
)
def test_few_shot_maps_and_scores(square, preset, shots, what):
    detector, pixels = build(preset, square, shots=SHOTS[shots])
    scores = look(detector, pixels)[2]
    check(scores.anomaly_map if what == "map" else scores.image, "winclip", f"{preset}.{shots}.{what}")


@pytest.mark.parametrize(("preset", "shots"), [("anomalib", "few_a"), ("anomalib", "few_b"), ("mala", "few4")])
def test_vision_map_on_the_grid(square, preset, shots):
    detector, pixels = build(preset, square, shots=SHOTS[shots])
    features, _, _ = look(detector, pixels)
    with torch.no_grad():
        vision = detector.scorers[1](
            features, None, (5, 5)
        ).anomaly_map  # at the size of the grid nothing is interpolated
    check(vision, "winclip", f"{preset}.{shots}.v_map")


@pytest.mark.parametrize(("preset", "shots"), [("zq", "few_a"), ("zq", "few_b")])
def test_sum_of_both_maps_on_the_grid(square, preset, shots):
    detector, pixels = build(preset, square, shots=SHOTS[shots])
    features, text_embeddings, _ = look(detector, pixels)
    with torch.no_grad():
        fused = detector.score_features(features, text_embeddings, (5, 5)).anomaly_map
    check(fused, "winclip", f"{preset}.{shots}.sum_map")


@pytest.mark.parametrize("preset", ["anomalib", "zq", "paper"])
def test_zero_shot_map_on_the_grid(square, preset):
    detector, pixels = build(preset, square)
    features, text_embeddings, _ = look(detector, pixels)
    check(detector.score_features(features, text_embeddings, (5, 5)).anomaly_map, "winclip", f"{preset}.zero.zero_map")


@torch.no_grad()
def test_grids_that_are_not_square(oblong):
    detector, pixels = build("anomalib", oblong, file="winclip_rect", name="pcb1", queries=2)
    everything, _ = recorded("winclip_rect", "pixels")
    features = detector.extractor(oblong.vision, everything)
    for side in (2, 3):
        check(features[f"window{side}"].vectors, "winclip_rect", f"window{side}_features")
        check(window_cells((5, 7), side), "winclip_rect", f"window{side}_cells")
    check(features.image, "winclip_rect", "image_features")
    check(features["patch"].vectors, "winclip_rect", "patch_features_ln_post")
    check(detector.prompts.prototypes(oblong.text, "pcb1"), "winclip_rect", "prototypes_21_mean_of_raw")
    text_embeddings = detector.text_embeddings(["pcb1"] * 2)
    zero = detector(pixels)
    for side in (2, 3):
        queries = detector.extractor(oblong.vision, pixels)
        level = queries[f"window{side}"]
        cells = level.to_map(detector.scorers[0].probability(level.vectors, text_embeddings), "harmonic")
        check(cells, "winclip_rect", f"zero.map{side}")
    check(zero.anomaly_map, "winclip_rect", "zero.map")
    check(zero.image, "winclip_rect", "zero.score")


@torch.no_grad()
def test_few_shot_on_grids_that_are_not_square(oblong):
    detector, pixels = build("anomalib", oblong, shots=2, file="winclip_rect", name="pcb1", queries=2)
    features = detector.extractor(oblong.vision, pixels)
    for side in (2, 3):
        level = features[f"window{side}"]
        values = nearest_distance(level.vectors, detector.scorers[1].bank(f"window{side}"))
        check(level.to_map(values, "harmonic"), "winclip_rect", f"few.v_map{side}")
    scores = detector(pixels)
    check(scores.anomaly_map, "winclip_rect", "few.map")
    check(scores.image, "winclip_rect", "few.score")


@torch.no_grad()
def test_pixels_of_recorded_images(square):
    from vlmad_core.contracts.images import open_image, to_pixels

    for i in range(7):
        array, _ = recorded("images", f"image_{i}")
        check(to_pixels(open_image(array.numpy()), square.preprocess), "winclip", "pixels", i)


@torch.no_grad()
@pytest.mark.parametrize("shots", [0, 4])
def test_bfloat16_stays_close(shots):
    detector, pixels = build("anomalib", tiny_clip("b16"), shots=shots)
    detector.backbone.to(torch.bfloat16)
    name = "few_b" if shots else "zero"
    expected, _ = recorded("winclip", f"anomalib.{name}.map")
    assert (detector(pixels).anomaly_map - expected).abs().max() < 0.02

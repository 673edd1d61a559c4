"""Speed: operations against closed forms, rows that read back, and refusals. Times themselves are nobody's test."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import vlmad_core
from vlmad_core.benchmark.flops import count_flops
from vlmad_core.benchmark.speed import measure
from vlmad_core.contracts import kernels
from vlmad_core.errors import ConfigError, ImageError, NotFittedError
from vlmad_core.report.speed import read_speed, write_speed
from vlmad_core.testing import memory_registry, tiny_backbone

WIDTH, DIM, DEPTH, GRID, PATCH = 32, 16, 3, 4, 8


def vit_flops(blocks: int, tokens: int, width: int = WIDTH, hidden: int = 2) -> int:
    """Width^2 multiply-adds a token: qkv 3, out 1, mlp twice ``hidden``; then q k' and its product with v."""
    return blocks * (2 * tokens * (4 + 2 * hidden) * width**2 + 4 * tokens**2 * width)


def tower_flops() -> int:
    cells, tokens = GRID**2, GRID**2 + 1
    return 2 * cells * 3 * PATCH**2 * WIDTH + vit_flops(DEPTH, tokens)


@pytest.fixture
def memory():
    """Patches of the last block against a memory of two images."""
    spec = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}
    made = vlmad_core.build(spec, backbone=tiny_backbone(), registry=memory_registry())
    return made.fit(pictures(2, seed=1), "nut")


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (40, 48, 3), dtype=np.uint8) for _ in range(count)]


def test_tower_equals_its_closed_form():
    tower, images = tiny_backbone().vision, torch.zeros(2, 3, 32, 32)

    def run():
        with torch.no_grad():
            vlmad_core.contracts.forward_blocks(tower.blocks, tower.embed(images)[0])

    assert count_flops(run) == 2 * tower_flops()


def test_onednn_linear_and_plain_linear_count_alike(monkeypatch):
    x, weight, bias = torch.ones(2, 5, 8), torch.ones(6, 8), torch.ones(6)
    counts = []
    for onednn in (kernels._ONEDNN, False):
        monkeypatch.setattr(kernels, "_ONEDNN", onednn)
        counts.append(count_flops(lambda: kernels.linear(x, weight, bias, gelu=True)))
        counts.append(count_flops(lambda: kernels.linear(x, weight)))
    assert set(counts) == {2 * 2 * 5 * 8 * 6}


@pytest.mark.parametrize("inference", [True, False])
@pytest.mark.parametrize("mask", [None, torch.zeros(5, 7)])
def test_fused_attention_counts_as_what_it_computes(mask, inference):
    q, k, v = torch.ones(2, 3, 5, 4), torch.ones(2, 3, 7, 4), torch.ones(2, 3, 7, 4)

    def run():
        with torch.inference_mode(inference):
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    expected = 2 * 2 * 3 * 5 * 7 * (4 + 4)
    assert count_flops(run) == expected
    with sdpa_kernel(SDPBackend.MATH):
        assert count_flops(run) == expected


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda: torch.ones(3, 4) @ torch.ones(4), 2 * 3 * 4),
        (lambda: torch.ones(4) @ torch.ones(4), 2 * 4),
        (lambda: torch.cdist(torch.ones(5, 8), torch.ones(6, 8)), 2 * 5 * 6 * 8),
        (lambda: torch.cdist(torch.ones(30, 8), torch.ones(40, 8)), 2 * 30 * 40 * 8),
        (lambda: F.conv2d(torch.ones(1, 3, 8, 8), torch.ones(5, 3, 4, 4), stride=4), 2 * 4 * 3 * 16 * 5),
        (lambda: torch.ones(9).exp() + 1, 0),
    ],
)
def test_other_products(run, expected):
    assert count_flops(run) == expected


def test_a_detector_counts_its_tower_and_its_memory_once_an_image(memory):
    (one, eight) = measure(memory, pictures(3), batch_sizes=(1, 8), repeats=2, warmup=1)
    cells = GRID**2
    assert one.flops == eight.flops == tower_flops() + 2 * cells * (2 * cells) * WIDTH


def test_words_are_not_counted_with_the_image():
    spec = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}
    made = vlmad_core.build(spec, backbone=tiny_backbone(), registry=memory_registry())
    (speed,) = measure(made, pictures(1), class_name="nut", batch_sizes=(1,), repeats=1, warmup=1)
    cells = GRID**2
    # The class token is projected too; both are compared with two sentences.
    assert speed.flops == tower_flops() + 2 * (cells + 1) * WIDTH * DIM + 2 * (cells + 1) * DIM * 2


def test_a_row_says_what_was_measured_where(memory):
    one, eight = measure(memory, pictures(3), method="m", shots=2, batch_sizes=(1, 8), repeats=20, warmup=1)
    assert (one.method, one.backbone, one.image_size, one.batch, one.images) == ("m", "tiny", (32, 32), 1, 20)
    assert (eight.batch, eight.images, eight.shots) == (8, 24, 2)
    assert 0 < one.p50_ms <= one.p95_ms <= one.p99_ms
    assert eight.p50_ms is None and eight.images_per_second > 0
    assert one.peak_memory_mb > 50  # torch itself
    assert one.threads == torch.get_num_threads() and one.dtype == "float32" and one.machine
    weights = sum(p.numel() for p in memory.backbone.parameters())
    assert (one.parameters, one.learned) == (weights, 0)
    assert measure(memory, pictures(1), batch_sizes=[1], repeats=1, warmup=1)[0].method == "patches + memory"


def test_times_include_decoding_and_the_map_at_the_size_of_the_image(memory, tmp_path, monkeypatch):
    from PIL import Image

    from vlmad_core.contracts.data import Prediction

    path = tmp_path / "a.png"
    Image.fromarray(pictures(1)[0]).save(path)
    sizes = []
    made = Prediction.map_at
    monkeypatch.setattr(Prediction, "map_at", lambda self, size: sizes.append(size) or made(self, size))
    measure(memory, [path], batch_sizes=(1,), repeats=3, warmup=2)
    assert sizes == [(40, 48)] * (2 + 3 + 3)  # warm-up, throughput, one by one
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        measure(memory, [path])


def test_peak_memory_begins_anew_with_each_measurement(memory):
    torch.ones(30_000_000).sum()  # 120 MB, gone again
    first = measure(memory, pictures(1), batch_sizes=(1,), repeats=1, warmup=1)[0]
    if first.memory != "resident":
        pytest.skip("this system does not let a process reset its mark")
    held = torch.ones(30_000_000)
    second = measure(memory, pictures(1), batch_sizes=(1,), repeats=1, warmup=1)[0]
    assert second.peak_memory_mb - first.peak_memory_mb == pytest.approx(4 * held.numel() / 1e6, abs=20)


def test_rows_read_back_and_newer_ones_replace_older(memory, tmp_path):
    path = tmp_path / "out" / "speed.jsonl"
    first = measure(memory, pictures(1), method="a", batch_sizes=(1, 2), repeats=1, warmup=1)
    other = measure(memory, pictures(1), method="b", batch_sizes=(1,), repeats=1, warmup=1)
    write_speed(path, first)
    write_speed(path, other)
    again = measure(memory, pictures(1), method="a", batch_sizes=(2,), repeats=1, warmup=1)
    write_speed(path, again)
    assert read_speed(path) == [first[0], again[0], other[0]]
    line = json.loads(path.read_text().splitlines()[0])
    assert {"method", "backbone", "image_size", "device", "threads", "batch", "p50_ms", "flops"} <= set(line)
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(ConfigError, match="line 4 is not a measurement"):
        read_speed(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_speed(tmp_path / "none.jsonl")


@pytest.mark.parametrize("wrong", [{"batch_sizes": ()}, {"batch_sizes": (0,)}, {"repeats": 0}, {"warmup": 0}])
def test_numbers_below_one_are_refused(memory, wrong):
    with pytest.raises(ConfigError, match="at least"):
        measure(memory, pictures(1), **wrong)


def test_no_images_and_no_memory_are_refused(memory):
    with pytest.raises(ConfigError, match="at least one image"):
        measure(memory, [])
    for scorer in memory.scorers:
        scorer.forget()
    with pytest.raises(NotFittedError):
        measure(memory, pictures(1))

"""A product with two kinds of part, and a small detector that reads its captions."""

import pytest

import vlmad_core
from vlmad_core.testing import tiny_backbone
from vlmad_fine_grained.captions import Captions, PartCaption


@pytest.fixture
def tray():
    return Captions(
        class_name="tray of nuts",
        foreground="two nuts and a bar",
        background="dark tray",
        parts=(
            PartCaption(name="nut", number=2, place="left", relation="beside the bar"),
            PartCaption(name="bar", number=1, texture="brown"),
        ),
    )


@pytest.fixture
def make_detector():
    def make(captions, **options):
        spec = {
            "backbone": {"use": "tiny"},
            "extractor": {"use": "vlmad-core:patches", "config": {"space": "both"}},
            "prompts": {"use": "vlmad-fine-grained:captions", "config": {"captions": captions, **options}},
            "scorers": [{"use": "vlmad-fine-grained:captions", "config": {"level": "block*"}}],
        }
        return vlmad_core.build(spec, backbone=tiny_backbone())

    return make

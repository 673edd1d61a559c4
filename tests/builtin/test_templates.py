"""Fixed sentences, with the class name in them."""

import torch

from vlmad_core.builtin.plugin import TemplatesConfig
from vlmad_core.builtin.templates import Templates
from vlmad_core.contracts import encode_text, l2_normalize
from vlmad_core.testing import tiny_backbone


def test_underscores_of_a_class_name_are_spaces():
    backbone = tiny_backbone()
    prompts = Templates(TemplatesConfig(), backbone)
    found = prompts(backbone.text, ["metal_nut", "metal nut"]).vectors
    assert torch.equal(found[0], found[1])
    wanted = l2_normalize(encode_text(backbone.text, ["a photo of a damaged metal nut."])[0])
    torch.testing.assert_close(found[0, 1], wanted)


def test_the_class_name_is_required_where_a_sentence_holds_it():
    backbone = tiny_backbone()
    assert Templates(TemplatesConfig(), backbone).class_name_use == "required"
    without = TemplatesConfig(normal=("flawless",), abnormal=("damaged",))
    assert Templates(without, backbone).class_name_use == "ignored"

"""Weights from a file do not say which GELU they were trained with: a wrong architecture of the same sizes must be told."""

import warnings

import numpy as np
import torch
from common import end, expect, texture

import vlmad_core
from vlmad_core.contracts import import_with_torchvision

clip = import_with_torchvision("open_clip", extra="open-clip")
from safetensors.torch import save_file

torch.manual_seed(0)
model = clip.create_model("ViT-B-32-quickgelu", pretrained=None)
# as the line in vlmad's own message converts OpenAI's file
save_file({k: v.contiguous() for k, v in model.state_dict().items() if v.dim()}, "ViT-B-32-openai.safetensors")
del model
picture = texture(0)[0]


def score(name):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        detector = vlmad_core.build(
            "clip", weights="ViT-B-32-openai.safetensors", overrides={"backbone.config.model": name}
        )
    text = " ".join(str(w.message) for w in said) + detector.summary()
    return detector.predict(picture, class_name="sheet").raw_map, text


try:
    plain, text = score("ViT-B-32")
    quick, _ = score("ViT-B-32-quickgelu")
    expect(
        np.allclose(plain, quick, atol=1e-5) or "gelu" in text.lower(),
        f"the maps differ by up to {abs(plain - quick).max():.4f}, and nothing is told",
    )
except vlmad_core.errors.ConfigError as error:  # asked for instead of guessed
    expect("gelu" in str(error).lower(), f"refused, with the reason: {error}")

end()

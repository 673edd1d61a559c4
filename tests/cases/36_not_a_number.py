"""Weights that hold NaN (a broken training, a half-precision overflow): Python must refuse as the command line does."""

import warnings

import torch
from common import end, expect, save, texture, vlmad

import vlmad_core
from vlmad_core.contracts import import_with_torchvision

clip = import_with_torchvision("open_clip", extra="open-clip")
from safetensors.torch import save_file

torch.manual_seed(0)
state = {k: v.contiguous().clone() for k, v in clip.create_model("ViT-S-32-alt", pretrained=None).state_dict().items()}
state["visual.ln_post.weight"][3] = float("nan")
save_file(state, "broken.safetensors")
save(texture(0)[0], "a.png")
done = vlmad(
    "predict",
    "a.png",
    "--recipe",
    "clip",
    "--weights",
    "broken.safetensors",
    "--set",
    "backbone.config.model=ViT-S-32-alt",
    "--class-name",
    "sheet",
    "--json",
)
expect(done.returncode in (1, 3), "command line: an error, and not a score (for comparison)")
options = {"weights": "broken.safetensors", "overrides": {"backbone.config.model": "ViT-S-32-alt"}}


def tried(what, call):
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = call()
        expect(bool(said), f"{what}: {found} came back, and nothing was told")
    except Exception as error:
        expect(True, f"{what}: {type(error).__name__}: {error}")


tried("predict in Python", lambda: vlmad_core.build("clip", **options).predict("a.png", class_name="sheet").score)
tried(
    "fit in Python",
    lambda: (
        vlmad_core.build("patch-memory", backbone="open-clip", **options)
        .fit([texture(i)[0] for i in range(3)])
        .normal_range.tolist()
    ),
)

end()

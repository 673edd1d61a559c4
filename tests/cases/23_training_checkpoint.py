"""Checkpoints as trainings write them: wrapped, prefixed, with an optimiser beside; loaded as the plain weights are."""

import torch
from common import end, expect, texture

import vlmad_core
from vlmad_core.contracts import import_with_torchvision

clip = import_with_torchvision("open_clip", extra="open-clip")
torch.manual_seed(0)
model = clip.create_model("ViT-S-32-alt", pretrained=None)
best = torch.optim.AdamW(model.parameters())
model.encode_image(torch.zeros(1, 3, 224, 224)).sum().backward()
best.step()
state = model.state_dict()
torch.save(state, "plain.pt")
torch.save(
    {
        "epoch": 1,
        "name": "run",
        "state_dict": {"module." + k: v for k, v in state.items()},
        "optimizer": best.state_dict(),
        "scaler": {"scale": 1.0},
    },
    "epoch_1.pt",
)
torch.save({k: v.half() for k, v in state.items()}, "half.pt")
torch.save(state, "old.pt", _use_new_zipfile_serialization=False)
picture = texture(0)[0]


def score(name):
    return (
        vlmad_core.build("clip", weights=name, overrides={"backbone.config.model": "ViT-S-32-alt"})
        .predict(picture, class_name="sheet")
        .score
    )


plain = score("plain.pt")
for name, slack in (("epoch_1.pt", 0), ("old.pt", 0), ("half.pt", 1e-3)):
    found = score(name)
    expect(abs(found - plain) <= slack, f"{name}: {found:.6f}, plain {plain:.6f}")

end()

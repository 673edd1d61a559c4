"""Plain vision transformers of timm as backbones."""

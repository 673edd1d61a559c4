"""Which distribution of this project offers a name, to say what to install where it is missing."""

from __future__ import annotations

__all__ = ["PROJECT_PLUGINS"]

_NAMES = {
    "vlmad-adapters": "adapt adapted-patches adapted-words adapters probe",
    "vlmad-april-gan": "projections april-gan april-gan-few-shot april-gan-mean april-gan-mean-few-shot",
    "vlmad-compositional": "compositional",
    "vlmad-dpam": "dpam",
    "vlmad-export": "export",
    "vlmad-fine-grained": "parts captions fine-grained",
    "vlmad-foreground": "foreground foreground-memory",
    "vlmad-judge": "openai-compatible",
    "vlmad-learned-prompts": "learned anomalyclip",
    "vlmad-musc": "musc pocket-batch",
    "vlmad-pocket": "pocket pocket-few-shot",
    "vlmad-ray": "batch ray",
    "vlmad-report": "report",
    "vlmad-robustness": "robustness",
    "vlmad-serve": "serve",
    "vlmad-study": "study",
    "vlmad-subspace": "subspace",
    "vlmad-timm": "timm",
    "vlmad-watch": "watch",
    "vlmad-winclip": "windows winclip winclip-few-shot winclip-anomalib winclip-anomalib-few-shot winclip-zq "
    "winclip-zq-few-shot winclip-mala winclip-mala-few-shot",
}

PROJECT_PLUGINS = {name: distribution for distribution, names in _NAMES.items() for name in names.split()}
"""Name of a part or recipe to the distribution that brings it."""

"""The data sets that come with the core, offered through the same hook as everyone else's. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from vlmad_core.registry.component import Component, Config
from vlmad_core.registry.hookspecs import hookimpl

__all__ = [
    "ElpvConfig",
    "FoldersConfig",
    "ManifestConfig",
    "MvtecAd2Config",
    "RealIadConfig",
    "ShareConfig",
    "VisaConfig",
]


class ShareConfig(Config):
    """Options of a data set that its authors did not split."""

    train: float = Field(
        0.0, ge=0, lt=1, description="Share of the normal images to put into train, the same ones each time."
    )


class FoldersConfig(ShareConfig):
    """Options of 'folders'. A path is relative to the root, or absolute; none: the usual names."""

    good: tuple[str, ...] = Field((), description="Folders of normal images; none: good, normal, ok.")
    defects: tuple[str, ...] = Field((), description="Folders of defective images; none: defects, bad, anomaly, …")
    masks: tuple[str, ...] = Field((), description="Folders of masks; none: masks, ground_truth, gt.")
    category: str = Field("", description="What the images show; none: the name of the root.")


class ManifestConfig(Config):
    """Options of 'manifest'."""

    category: str = Field("", description="Of rows that name none; none: the name of the file.")


class MvtecAd2Config(Config):
    """Options of 'mvtec-ad-2'."""

    private: bool = Field(False, description="Also the private test sets, whose labels are unknown.")


class VisaConfig(Config):
    """Options of 'visa'."""

    split: Literal["1cls", "2cls_highshot", "2cls_fewshot"] = Field(
        "1cls", description="The file of split_csv; 1cls has normal images alone in train."
    )


class RealIadConfig(Config):
    """Options of 'real-iad'."""

    jsons: str = Field("realiad_jsons", description="Folder of the splits, such as realiad_jsons_sv for one view.")
    images: str = Field("", description="Folder of the images, such as realiad_1024; none: the largest that is there.")


class ElpvConfig(ShareConfig):
    """Options of 'elpv'."""

    threshold: float = Field(
        0.5, gt=0, le=1, description="A cell is defective from this label on; the labels are 0, 1/3, 2/3 and 1."
    )
    skip_uncertain: bool = Field(False, description="Leave out the cells labelled 1/3 and 2/3.")


_NONE = Config
_LAYOUTS: tuple[tuple[str, str, type[Config], str, str], ...] = (
    ("mvtec-ad", "mvtec:MvtecAd", _NONE, "MVTec AD: 15 objects and textures.", "Bergmann et al., CVPR 2019"),
    ("mvtec-ad-2", "mvtec:MvtecAd2", MvtecAd2Config, "MVTec AD 2: eight harder ones.", "Heckler-Kram et al., 2025"),
    ("mvtec-loco", "mvtec:MvtecLoco", _NONE, "MVTec LOCO AD: logical and structural.", "Bergmann et al., IJCV 2022"),
    ("visa", "visa:Visa", VisaConfig, "VisA: 12 objects, with its split_csv.", "Zou et al., ECCV 2022"),
    ("visa-converted", "mvtec:VisaConverted", _NONE, "VisA converted to MVTec's layout.", "Zou et al., ECCV 2022"),
    ("btad", "mvtec:Btad", _NONE, "BTAD: three industrial products.", "Mishra et al., ISIE 2021"),
    ("mpdd", "mvtec:Mpdd", _NONE, "MPDD: six painted metal parts.", "Jezek et al., ICUMT 2021"),
    ("real-iad", "real_iad:RealIad", RealIadConfig, "Real-IAD: 30 objects, five sides.", "Wang et al., CVPR 2024"),
    ("kolektor-sdd", "kolektor:KolektorSdd", ShareConfig, "KolektorSDD: commutators.", "Tabernik et al., JIM 2019"),
    ("kolektor-sdd2", "kolektor:KolektorSdd2", _NONE, "KolektorSDD2: a coloured surface.", "Bozic et al., 2021"),
    ("dagm", "dagm:Dagm", _NONE, "DAGM 2007: ten drawn textures, roughly marked.", "Wieler and Hahn, 2007"),
    ("elpv", "elpv:Elpv", ElpvConfig, "ELPV: solar cells, no masks.", "Deitsch et al., Solar Energy 2019"),
    ("mvtec-layout", "mvtec:MvtecLayout", _NONE, "Your own: train/good, test/KIND, ground_truth/KIND.", ""),
    ("folders", "folders:Folders", FoldersConfig, "Your own: good, defects, masks, wherever they lie.", ""),
    ("manifest", "manifest:Manifest", ManifestConfig, "Your own: a CSV or JSONL file.", ""),
)


@hookimpl
def vlmad_datasets() -> Iterable[Component]:
    """Published ones first, then the forms that any data may have."""
    for name, target, config, summary, paper in _LAYOUTS:
        yield Component(name=name, target=f"vlmad_core.datasets.{target}", config=config, summary=summary, paper=paper)

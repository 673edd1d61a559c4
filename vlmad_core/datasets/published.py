"""What is published of the known data sets: classes, counts, where to get them, licences. Data, and no code.

Counts are images by category and cell, from the papers and the pages of the data sets. A cell is ``"train/good"``, or
less of it where less is published, or nothing is split: ``"test"``, ``"defective"``, ``"all"``.
"""

from __future__ import annotations

from vlmad_core.datasets.base import DatasetInfo

__all__ = [
    "BTAD",
    "DAGM",
    "ELPV",
    "KOLEKTOR_SDD",
    "KOLEKTOR_SDD2",
    "MPDD",
    "MVTEC_AD",
    "MVTEC_AD_2",
    "MVTEC_LOCO",
    "REAL_IAD",
    "VISA",
]

_BY_NC_SA = "CC BY-NC-SA 4.0: not for commercial use"
_FOUR = ("train/good", "validation/good", "test/good", "test/defective")
_THREE = ("train/good", "test/good", "test/defective")


def _table(cells: tuple[str, ...], rows: dict[str, tuple[int, ...]]) -> dict[str, dict[str, int]]:
    return {category: dict(zip(cells, counts, strict=True)) for category, counts in rows.items()}


MVTEC_AD = DatasetInfo(
    title="MVTec AD (Bergmann et al., CVPR 2019)",
    home="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    licence=_BY_NC_SA,
    counts=_table(
        _THREE,
        {
            "bottle": (209, 20, 63),
            "cable": (224, 58, 92),
            "capsule": (219, 23, 109),
            "carpet": (280, 28, 89),
            "grid": (264, 21, 57),
            "hazelnut": (391, 40, 70),
            "leather": (245, 32, 92),
            "metal_nut": (220, 22, 93),
            "pill": (267, 26, 141),
            "screw": (320, 41, 119),
            "tile": (230, 33, 84),
            "toothbrush": (60, 12, 30),
            "transistor": (213, 60, 40),
            "wood": (247, 19, 60),
            "zipper": (240, 32, 119),
        },
    ),
)

VISA = DatasetInfo(
    title="VisA, split 1cls (Zou et al., ECCV 2022)",
    home="https://github.com/amazon-science/spot-diff",
    licence="CC BY 4.0",
    counts=_table(
        _THREE,
        {
            "candle": (900, 100, 100),
            "capsules": (542, 60, 100),
            "cashew": (450, 50, 100),
            "chewinggum": (453, 50, 100),
            "fryum": (450, 50, 100),
            "macaroni1": (900, 100, 100),
            "macaroni2": (900, 100, 100),
            "pcb1": (904, 100, 100),
            "pcb2": (901, 100, 100),
            "pcb3": (905, 101, 100),
            "pcb4": (904, 101, 100),
            "pipe_fryum": (450, 50, 100),
        },
    ),
)

BTAD = DatasetInfo(
    title="BTAD, beanTech (Mishra et al., ISIE 2021)",
    home="https://github.com/pankajmishra000/VT-ADL",
    licence=_BY_NC_SA,
    counts=_table(_THREE, {"01": (400, 21, 49), "02": (399, 30, 200), "03": (1000, 400, 41)}),
)

MPDD = DatasetInfo(
    title="MPDD, metal parts (Jezek et al., ICUMT 2021)",
    home="https://github.com/stepanje/MPDD",
    licence=_BY_NC_SA,
    counts=_table(
        _THREE,
        {
            "bracket_black": (289, 32, 47),
            "bracket_brown": (185, 26, 51),
            "bracket_white": (110, 30, 30),
            "connector": (128, 30, 14),
            "metal_plate": (54, 26, 71),
            "tubes": (122, 32, 69),
        },
    ),
)

MVTEC_LOCO = DatasetInfo(
    title="MVTec LOCO AD (Bergmann et al., IJCV 2022)",
    home="https://www.mvtec.com/company/research/datasets/mvtec-loco",
    licence=_BY_NC_SA,
    counts=_table(
        _FOUR,
        {
            "breakfast_box": (351, 62, 102, 173),
            "juice_bottle": (335, 54, 94, 236),
            "pushpins": (372, 69, 138, 172),
            "screw_bag": (360, 60, 122, 219),
            "splicing_connectors": (354, 59, 119, 193),
        },
    ),
)

MVTEC_AD_2 = DatasetInfo(
    title="MVTec AD 2 (Heckler-Kram et al., 2025)",
    home="https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
    licence=_BY_NC_SA,
    counts=_table(
        _FOUR,
        {
            "can": (412, 46, 72, 90),
            "fabric": (387, 43, 66, 90),
            "fruit_jelly": (263, 37, 20, 60),
            "rice": (313, 35, 42, 90),
            "sheet_metal": (137, 19, 24, 90),
            "vial": (291, 41, 35, 105),
            "wallplugs": (293, 33, 60, 90),
            "walnuts": (432, 48, 60, 90),
        },
    ),
)

_REAL_IAD = """
audiojack bottle_cap button_battery end_cap eraser fire_hood mint mounts pcb phone_battery plastic_nut plastic_plug
porcelain_doll regulator rolled_strip_base sim_card_set switch tape terminalblock toothbrush toy toy_brick transistor1
u_block usb usb_adaptor vcpill wooden_beads woodstick zipper
"""

REAL_IAD = DatasetInfo(
    title="Real-IAD (Wang et al., CVPR 2024)",
    home="https://realiad4ad.github.io/Real-IAD",
    licence="CC BY-NC-SA 4.0: not for commercial use; on request",
    counts={category: {} for category in _REAL_IAD.split()},  # how many of each is not in the paper's table
)

KOLEKTOR_SDD = DatasetInfo(
    title="KolektorSDD (Tabernik et al., JIM 2019)",
    home="https://www.vicos.si/resources/kolektorsdd",
    licence=_BY_NC_SA,
    counts={"commutator": {"good": 347, "defective": 52}},
)

KOLEKTOR_SDD2 = DatasetInfo(
    title="KolektorSDD2 (Bozic et al., Computers in Industry 2021)",
    home="https://www.vicos.si/resources/kolektorsdd2",
    licence=_BY_NC_SA,
    counts={"surface": {"train/good": 2085, "train/defective": 246, "test/good": 894, "test/defective": 110}},
)

DAGM = DatasetInfo(
    title="DAGM 2007 (Wieler and Hahn, 2007)",
    home="https://hci.iwr.uni-heidelberg.de/content/weakly-supervised-learning-industrial-optical-inspection",
    licence="see its page",
    counts={
        f"Class{i}": {"train": half, "test": half, "defective": defective}
        for i in range(1, 11)
        for half, defective in [(575, 150) if i <= 6 else (1150, 300)]
    },
)

ELPV = DatasetInfo(
    title="ELPV (Deitsch et al., Solar Energy 2019)",
    home="https://github.com/zae-bayern/elpv-dataset",
    licence=_BY_NC_SA,
    counts={"mono": {"all": 1074}, "poly": {"all": 1550}},
    has_masks=False,
)

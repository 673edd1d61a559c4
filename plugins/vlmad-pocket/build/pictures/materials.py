# ruff: noqa: D103 (one signature, told above; each name says what it draws)
# ruff: noqa: E501 (tables of words are read by row)
"""The table of materials: how each is drawn, what a sheet of it is called, and what can happen to it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pictures import fibres, metals, minerals, polymers, pulp, scanned
from pictures.noise import Array, Rng

Draw = Callable[[Rng, int], Array]


@dataclass(frozen=True)
class Material:
    """One material.

    `words` are adjectives, `sheets` nouns for a surface that fills the frame, `family` chooses names of objects and
    `traits` say which defects it can have: hard, soft, thin, thread, metal, coated, burns, brittle, wafer, pattern.
    """

    name: str
    draw: Draw
    family: str
    words: tuple[str, ...]
    sheets: tuple[str, ...]
    traits: frozenset[str]


def entry(name: str, draw: Draw, family: str, words: str, sheets: str, traits: str) -> Material:
    return Material(name, draw, family, tuple(words.split("|")), tuple(sheets.split("|")), frozenset(traits.split()))


SCANNED = (
    entry("scanned metal", scanned.scanned, "metal", "metal|metallic|cast metal", "metal surface|metal casting|metal sheet", "hard metal"),
    entry("scanned plastic", scanned.scanned, "plastic", "plastic|textured plastic", "plastic surface|textured panel", "hard coated"),
    entry("scanned stone", scanned.scanned, "stone", "stone|ceramic|mineral", "stone surface|ceramic surface|plaster", "hard brittle"),
    entry("scanned hide", scanned.scanned, "cloth", "leather|textile", "leather|textile|covering", "soft thin burns"),
    entry("scanned food", scanned.scanned, "food", "baked|natural", "crust|natural surface", "soft burns brittle"),
)  # fmt: skip
"""Materials with scanned relief; there only where the scans are."""

DRAWN = (
    entry("cast metal", metals.cast, "metal", "cast metal|cast iron|die-cast", "metal casting|cast surface", "hard metal"),
    entry("brushed metal", metals.brushed, "metal", "brushed metal|brushed steel|aluminium", "metal sheet|steel surface|metal plate", "hard metal"),
    entry("turned metal", metals.turned_metal, "metal", "turned metal|machined metal", "machined face|turned metal surface", "hard metal"),
    entry("milled metal", metals.milled, "metal", "milled metal|machined steel", "milled surface|machined metal surface", "hard metal"),
    entry("ground metal", metals.ground, "metal", "ground metal|steel|rolled steel", "steel strip|rolled sheet|metal surface", "hard metal"),
    entry("galvanised metal", metals.galvanised, "metal", "galvanised|zinc-coated", "galvanised sheet|zinc-coated steel", "hard metal coated"),
    entry("primed metal", metals.primer, "metal", "primed|painted metal", "primed panel|painted steel", "hard metal coated"),
    entry("glossy paint", metals.gloss, "metal", "painted|lacquered", "painted panel|lacquered surface|car body panel", "hard metal coated"),
    entry("foil", metals.foil, "metal", "foil|metal foil", "foil|aluminium foil|blister foil", "thin soft"),
    entry("tread plate", metals.tread, "metal", "embossed metal", "tread plate|embossed sheet", "hard metal pattern"),
    entry("perforated metal", metals.perforated, "metal", "perforated metal", "perforated sheet|perforated plate", "hard metal pattern"),
    entry("wood", fibres.wood, "wood", "wooden|wood", "wood|wooden board|wood panel", "hard burns"),
    entry("chipboard", fibres.chipboard, "wood", "chipboard|plywood|pressed wood", "chipboard|plywood panel|strand board", "hard burns"),
    entry("leather", fibres.leather, "cloth", "leather", "leather|leather hide|leatherette", "soft thin burns"),
    entry("woven fabric", fibres.woven, "cloth", "woven|textile", "woven fabric|fabric|textile|cloth", "soft thin thread burns pattern"),
    entry("knitted fabric", fibres.knitted, "cloth", "knitted|knit", "knitted fabric|knit|jersey", "soft thin thread burns pattern"),
    entry("corduroy", fibres.corduroy, "cloth", "ribbed|corduroy", "corduroy|ribbed fabric", "soft thin thread burns pattern"),
    entry("felt", fibres.felt, "cloth", "felt|fibre", "felt|nonwoven|fibre mat", "soft thin burns"),
    entry("paper", pulp.paper, "paper", "paper", "paper|paper sheet|card", "soft thin burns"),
    entry("cardboard", fibres.cardboard, "paper", "cardboard", "cardboard|corrugated board", "soft thin burns"),
    entry("carpet", fibres.carpet, "cloth", "carpet|tufted", "carpet|rug", "soft thread burns"),
    entry("mesh", fibres.mesh, "metal", "mesh|wire", "mesh|grid|wire grid|net", "thread pattern metal"),
    entry("braid", fibres.braid, "cloth", "braided|rope", "braid|webbing|rope weave", "soft thread burns pattern"),
    entry("ceramic tile", minerals.tile, "stone", "ceramic|terrazzo", "tile|ceramic tile|terrazzo", "hard brittle"),
    entry("glazed tile", minerals.glazed, "stone", "glazed|porcelain", "glazed tile|ceramic tile|porcelain", "hard brittle coated"),
    entry("marble", minerals.marble, "stone", "marble|stone", "marble|marble slab|polished stone", "hard brittle"),
    entry("granite", minerals.granite, "stone", "granite|stone", "granite|stone slab", "hard brittle"),
    entry("concrete", minerals.concrete, "stone", "concrete|cement", "concrete|concrete wall|cement surface", "hard brittle"),
    entry("asphalt", minerals.asphalt, "stone", "asphalt", "asphalt|road surface|pavement", "hard brittle"),
    entry("glass", minerals.glass, "glass", "glass", "glass|glass pane|display glass", "hard brittle"),
    entry("crystalline wafer", minerals.grains, "wafer", "polycrystalline|silicon|multicrystalline", "wafer|solar cell|silicon wafer|crystalline wafer", "hard brittle wafer"),
    entry("even wafer", minerals.wafer, "wafer", "silicon|monocrystalline", "wafer|solar cell|silicon wafer|semiconductor", "hard brittle wafer"),
    entry("circuit board", minerals.board, "board", "printed circuit|electronic", "circuit board|printed circuit board|PCB", "hard coated burns"),
    entry("brick", minerals.brick, "stone", "brick|masonry", "brick wall|masonry|paving", "hard brittle pattern"),
    entry("moulded plastic", polymers.plastic, "plastic", "plastic|moulded plastic", "plastic surface|plastic housing|moulded panel", "hard coated"),
    entry("ribbed plastic", polymers.ribbed, "plastic", "ribbed plastic", "ribbed plastic|grooved panel", "hard coated pattern"),
    entry("rubber", polymers.rubber, "rubber", "rubber|elastomer", "rubber|rubber sheet|rubber mat", "soft"),
    entry("foam", polymers.foam, "rubber", "foam|sponge", "foam|sponge|foam block", "soft burns"),
    entry("film", polymers.film, "plastic", "film|plastic film", "plastic film|wrapping film|coated web", "soft thin"),
    entry("crust", polymers.crust, "food", "baked|crusty", "crust|baked surface|bread crust", "soft burns"),
    entry("crumb", polymers.crumb, "food", "baked|porous", "crumb|sponge cake|porous surface", "soft burns"),
    entry("pressed powder", polymers.powder, "powder", "pressed|chalky", "plaster|pressed powder|chalk surface", "brittle"),
    entry("husk", polymers.husk, "husk", "natural|dried", "peel|bark|husk", "soft burns"),
    entry("chocolate", polymers.chocolate, "food", "chocolate", "chocolate|chocolate bar|wax", "brittle"),
    entry("printed pattern", polymers.pattern, "paper", "patterned|printed", "printed sheet|patterned laminate|wallpaper", "thin soft pattern"),
)  # fmt: skip

ALL = DRAWN + SCANNED if scanned.available() else DRAWN
BY_NAME = {one.name: one for one in ALL}
"""Every material by its name."""

OFTEN = {"crystalline wafer": 2.0, "even wafer": 2.0, "crust": 1.7, "crumb": 1.4, "woven fabric": 2.5, "paper": 2.0, "cardboard": 1.4, "felt": 1.3, **{one.name: 2.5 for one in SCANNED}}  # fmt: skip
"""Materials that come more often than the others, and how much."""

_UP_TO = np.cumsum([OFTEN.get(one.name, 1.0) for one in ALL])


def draw_one(rng: Rng) -> Material:
    """Any material."""
    return ALL[int(np.searchsorted(_UP_TO, rng.uniform(0, _UP_TO[-1]), side="right"))]

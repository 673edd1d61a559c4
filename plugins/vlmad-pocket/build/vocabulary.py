"""Words for states, kinds of defect, things and sentences, written for the text tower: data, no code worth a name.

``HELD_OUT_*`` are never in a caption of a picture, nor in an anchor of the joint training; only in sentences that the
teacher reads. ``abnormal()`` and ``normal()`` are without them.
"""

from __future__ import annotations

HELD_OUT = ("scuffed", "chipped", "tarnished", "pristine", "intact", "blemish", "blemished", "spotless", "marred",
            "fractured", "impaired", "scuff", "chip", "tarnish", "fracture")  # fmt: skip
HELD_OUT_ABNORMAL = [
    "scuffed {}", "chipped {}", "tarnished {}", "blemished {}", "marred {}", "fractured {}", "impaired {}",
    "{} with blemish", "{} with a blemish", "{} with a chip", "{} with scuffs", "{} with a fracture",
]  # fmt: skip
HELD_OUT_NORMAL = ["pristine {}", "intact {}", "spotless {}", "{} without blemish", "{} in pristine condition"]

_ABNORMAL_WORDS = """
damaged broken defective faulty flawed bad ruined spoiled wrecked imperfect deficient substandard rejected malformed
deformed distorted misshapen crooked warped bent dented scratched scraped gouged grazed cut slashed torn ripped frayed
worn abraded eroded corroded rusty rusted pitted cracked split shattered smashed crushed burst punctured pierced
perforated stained spotted smeared smudged soiled dirty contaminated polluted discolored discoloured faded burnt
scorched charred melted moldy rotten incomplete unfinished misaligned misplaced displaced loose detached peeling
flaking blistered wrinkled creased folded crumpled uneven irregular anomalous abnormal unusual strange wrong
unacceptable failed leaking nicked chafed bruised mangled maimed harmed injured hurt degraded deteriorated weathered
decayed botched messy ugly unsound compromised disfigured botchy tattered shabby battered
"""
_NORMAL_WORDS = """
flawless perfect unblemished undamaged unbroken unscathed unspoiled unharmed good normal regular ordinary standard
typical usual fine sound healthy clean clear neat tidy new fresh immaculate faultless impeccable ideal whole complete
finished proper correct right acceptable approved accepted passed excellent splendid unscratched uncracked undented
unstained uncut smooth even uniform consistent well-made well-kept mint unmarked untouched unused unhurt straight
aligned conforming working functional reliable
"""
_ABNORMAL_FORMS = ["{} with flaw", "{} with a flaw", "{} with defect", "{} with a defect", "{} with damage",
    "{} with defects", "{} with some damage", "{} that is damaged", "{} that is broken", "{} with something wrong",
    "{} with an anomaly", "{} with an imperfection", "{} in bad condition", "{} in poor condition",
    "{} that has a defect", "{} with a fault", "{} of poor quality", "{} to be rejected", "{} with a problem",
    "{} with an abnormality", "{} showing damage", "{} showing a defect", "not flawless {}", "imperfectly made {}",
]  # fmt: skip
_NORMAL_FORMS = ["{}", "{} without flaw", "{} without defect", "{} without damage", "{} without any defect",
    "{} without flaws", "{} with no defects", "{} with no damage", "{} with no flaw", "{} in good condition",
    "{} in perfect condition", "{} in mint condition", "{} that is fine", "{} free of defects", "defect-free {}",
    "{} of good quality", "{} as it should be", "{} with nothing wrong", "{} without anomaly", "undamaged new {}",
    "{} without imperfection", "{} without a problem", "high quality {}", "{} that passes inspection",
]  # fmt: skip


def abnormal() -> list[str]:
    """States of a thing that is not as it should be; ``{}`` is the thing."""
    return [f"{word} {{}}" for word in _ABNORMAL_WORDS.split()] + _ABNORMAL_FORMS


def normal() -> list[str]:
    """States of a thing that is as it should be."""
    return [f"{word} {{}}" for word in _NORMAL_WORDS.split()] + _NORMAL_FORMS


KINDS = {
    "scratch": ["a scratch", "scratches", "a long scratch", "a fine scratch", "a scrape", "a graze", "a scratch mark"],
    "crack": ["a crack", "cracks", "a hairline crack", "a split", "a fissure", "a break"],
    "hole": ["a hole", "holes", "a small hole", "a puncture", "a perforation", "a gap", "a missing piece"],
    "stain": ["a stain", "stains", "a spot", "a dark spot", "a smear", "a smudge", "a blot", "dirt", "contamination"],
    "dent": ["a dent", "dents", "a bump", "a bulge", "a depression", "a ding"],
    "missing": ["a missing part", "something missing", "a part missing", "a piece broken off", "a lost piece"],
    "extra": ["an extra part", "a foreign object", "a foreign body", "something on it", "an unwanted part", "debris"],
    "fold": ["a fold", "a crease", "a wrinkle", "a bend"],
    "colour": ["a discoloration", "a wrong color", "a faded area", "a burn mark", "a scorch mark", "a color change"],
    "cut": ["a cut", "a slit", "a tear", "a rip", "a gouge", "a nick", "a notch"],
    "rust": ["rust", "corrosion", "a rust spot", "oxidation", "mold"],
    "bubble": ["a bubble", "bubbles", "a blister", "a pore", "a pit"],
    "thread": ["a loose thread", "a broken thread", "a pulled thread", "a frayed edge", "fuzz", "a fiber"],
    "misplaced": ["a misplaced part", "a shifted part", "a twisted part", "a misaligned part", "a deformed part"],
    "break": ["a broken pattern", "an irregular pattern", "a broken line", "an interruption of the pattern"],
    "print": ["a misprint", "a print error", "a smeared print", "a blurred print"],
}

_THINGS = """
object part product item surface thing bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile
toothbrush transistor wood zipper circuit_board candle cashew chewing_gum macaroni pipe fryum solar_cell solar_panel
fabric cloth textile paper metal steel_sheet plastic glass ceramic stone marble concrete wall floor brick rubber
foam cookie biscuit bread fruit apple orange tomato potato nut seed bean grain rice coffee_bean tablet vial ampoule
syringe needle label box carton can lid cap bearing gear bolt washer spring rod tube hose valve pump motor wheel
tire brake_disc casting weld weld_seam wire connector chip_board resistor capacitor LED lens mirror screen display
phone battery wafer magnet coin key knife tool hammer spoon fork cup mug plate bowl jar toy button shoe glove bag
belt rope thread yarn net mesh veneer board panel plank beam door window road rail bridge roof coating paint varnish
foil film sheet cardboard envelope book stamp banknote egg leaf flower plant bone tooth skin bracket clip hinge
handle lock nail piped_cushion sponge brush comb clock watch lamp bulb fan keyboard plug socket switch antenna
sensor camera
"""
THINGS = [word.replace("_", " ") for word in _THINGS.split()]

TEMPLATES = [
    "{}", "a {}", "the {}", "this is a {}", "a photo of a {}.", "a photo of the {}.", "a picture of a {}",
    "an image of a {}", "a close-up photo of a {}.", "a close-up photo of the {}.", "a cropped photo of the {}.",
    "a cropped photo of a {}.", "a bright photo of a {}.", "a bright photo of the {}.", "a dark photo of a {}.",
    "a dark photo of the {}.", "a blurry photo of a {}.", "a blurry photo of the {}.",
    "a jpeg corrupted photo of a {}.", "a jpeg corrupted photo of the {}.", "a photo of a small {}.",
    "a photo of the small {}.", "a photo of a large {}.", "a photo of the large {}.",
    "a photo of a {} for visual inspection.", "a photo of the {} for visual inspection.",
    "a photo of a {} for anomaly detection.", "a photo of the {} for anomaly detection.", "a bad photo of a {}.",
    "a good photo of the {}.", "a low resolution photo of a {}.", "a black and white photo of a {}.",
    "there is a {} in the scene.", "this is one {} in the scene.", "there is a {}", "we see a {}", "one {}",
    "an industrial photo of a {}", "a microscope image of a {}", "a macro shot of a {}", "a grey image of a {}",
]  # fmt: skip

# ruff: noqa: D103 (one signature, told above; each name says what it draws)
# ruff: noqa: E501 (tables of words are read by row)
"""What is said about a picture: captions and pairs of normal and abnormal sentences, in varied words.

`HELD_OUT` words are never used, so that tests can ask whether a model trained on these sentences understands words
that it was never shown beside a picture.
"""

from pictures.noise import Array, Rng

HELD_OUT = frozenset(
    {"scuffed", "chipped", "tarnished", "pristine", "intact", "blemish", "blemished", "spotless", "marred", "fractured",
     "impaired"}
)  # fmt: skip
"""Words of state that no generated sentence contains."""

NORMAL = (
    "normal",
    "good",
    "flawless",
    "perfect",
    "undamaged",
    "faultless",
    "clean",
    "unbroken",
    "defect-free",
    "fine",
    "sound",
    "acceptable",
    "regular",
    "healthy",
    "unharmed",
    "well-made",
    "new",
    "proper",
    "ordinary",
    "correct",
    "immaculate",
    "usual",
    "satisfactory",
)
NORMAL_TAILS = (
    "without defect",
    "without flaw",
    "without any damage",
    "with no defects",
    "in good condition",
    "in perfect condition",
    "free of defects",
    "that passed inspection",
    "without anomalies",
    "with nothing wrong",
    "as it should be",
    "without any fault",
    "in normal state",
    "with no visible damage",
    "of good quality",
    "that looks as expected",
    "meeting the standard",
    "with no irregularities",
)
ABNORMAL = (
    "damaged",
    "defective",
    "abnormal",
    "faulty",
    "broken",
    "flawed",
    "bad",
    "anomalous",
    "imperfect",
    "spoiled",
    "unacceptable",
    "irregular",
    "ruined",
    "poor",
    "deficient",
    "wrong",
    "harmed",
    "rejected",
    "unusual",
    "substandard",
)
ABNORMAL_TAILS = (
    "with a defect",
    "with a flaw",
    "with damage",
    "with an anomaly",
    "with a fault",
    "in bad condition",
    "with something wrong",
    "that failed inspection",
    "with visible damage",
    "with an imperfection",
    "of poor quality",
    "with an irregularity",
    "with defects",
    "that is not as it should be",
    "with a problem",
    "showing damage",
)
KIND_WORDS: dict[str, tuple[str, str]] = {
    "scratch": ("scratched|scored|scraped", "a scratch|scratches|a scratch mark|a scrape|a thin scratch line"),
    "abrasion": ("abraded|rubbed|scraped|worn", "an abrasion|rub marks|scraping marks|an abraded area|a rough patch"),
    "crack": ("cracked|split|fissured", "a crack|cracks|a fissure|a hairline crack|a branching crack"),
    "chip": ("broken|damaged", "a chip at the edge|a flaked edge|a splintered edge|a broken corner"),
    "hole": ("punctured|perforated|pierced", "a hole|a puncture|an unwanted hole|a cavity"),
    "pits": ("pitted|porous|pocked", "pits|pores|small pits|porosity|pinholes"),
    "dent": ("dented|bumpy|indented", "a dent|a bump|an indentation|a bulge|a depression"),
    "stain": ("stained|soiled|dirty|spotted", "a stain|a dirty spot|a smudge|a blot|a soiled area"),
    "oil": ("oily|greasy|wet", "an oil spot|a grease stain|a liquid spot|oil drops|a wet spot"),
    "discolouration": ("discoloured|discolored|off-colour", "a discolouration|a colour deviation|an off-colour patch|a color defect"),
    "burn": ("burnt|scorched|charred", "a burn mark|a scorched area|a burnt spot|charring"),
    "rust": ("rusty|corroded|oxidised", "rust|a rust spot|corrosion|a corroded area|oxidation"),
    "contamination": ("contaminated|dirty|polluted", "a foreign particle|contamination|a foreign body|debris|dirt on it|a speck"),
    "fibre": ("contaminated|dirty", "a hair on it|a fibre on it|a loose thread on it|lint|a stray hair"),
    "thread": ("frayed|snagged|unravelled", "a pulled thread|a broken thread|a snag|a weaving fault|a loose thread"),
    "tear": ("torn|ripped|slit", "a tear|a rip|a slit|an open tear"),
    "cut": ("cut|slashed|incised", "a cut|a slash|an incision|a knife cut"),
    "fold": ("wrinkled|creased|folded", "a fold|a wrinkle|a crease|wrinkles"),
    "bubble": ("blistered|bubbly", "a bubble|a blister|bubbles|air bubbles|blisters"),
    "run": ("badly coated|dripped", "a paint run|a drip|a coating drip|a sag in the coating"),
    "peel": ("peeled|flaking|delaminated", "peeling|a peeled area|flaked coating|delamination|missing coating"),
    "smear": ("smeared|blurred|smudged", "a smear|a smeared area|a smudge|a blurred region"),
    "fade": ("faded|bleached|pale", "a faded area|a bleached patch|a pale area|loss of colour"),
    "wear": ("worn|rubbed|worn-out", "a worn edge|edge wear|a rubbed edge|wear at the border"),
    "foreign texture": ("contaminated|inhomogeneous|abnormal", "a foreign texture|an odd patch|a strange region|a wrong texture|a foreign patch"),
    "dead area": ("inactive|dead|failed", "a dark area|a bright area|an inactive region|an uneven region|a failed area"),
    "missing part": ("incomplete|deficient", "a missing part|a missing piece|an empty place|something missing|an absent element"),
    "extra part": ("wrong|contaminated", "an extra part|an additional piece|a foreign object|something too much|a surplus part"),
    "misplaced part": ("misaligned|displaced|misplaced", "a misplaced part|a shifted part|a part out of place|misalignment|a rotated part"),
    "deformation": ("deformed|bent|warped|distorted", "a deformation|a bend|a warped shape|a distorted shape|a bent part"),
    "break": ("broken|snapped|incomplete", "a broken-off part|a break|a broken piece|a piece broken off|breakage"),
    "nick": ("nicked|damaged|notched", "a nick in the edge|a notch|a missing bit at the edge|damaged edges"),
    "odd cell": ("uneven|irregular|mismatched", "a wrong colour element|one dark element|one deviating piece|an element of the wrong tone"),
    "interrupted pattern": ("interrupted|broken|irregular", "an interrupted line|a broken line|a gap in the pattern|a break in the pattern|a disconnected line"),
    "cell crack": ("cracked|split", "a crack in the cell|a micro crack|a dark crack|a crack in the silicon"),
    "disconnected area": ("inactive|partly dead", "a disconnected area|an inactive area|a dark cut-off area|an electrically dead region"),
    "finger interruption": ("interrupted|defective", "a finger interruption|broken fingers|dark finger stripes|an interrupted grid finger"),
    "solder spot": ("corroded|badly soldered", "a dark solder spot|bad soldering|corrosion at the busbar|dark spots along the busbar"),
    "broken corner": ("broken|incomplete", "a broken corner|a missing corner|a broken-off corner|a broken rim"),
    "bite": ("bitten|incomplete", "a bite|a missing bite|a piece bitten off|a missing piece at the edge"),
    "split": ("split|broken", "a break through the middle|two broken pieces|a split|broken pieces"),
    "crumbs": ("crumbling|crumbly", "crumbs|crumbs beside it|broken crumbs|loose crumbs"),
    "impurity": ("impure|speckled", "an impurity|a dark speck|a shive|specks|an embedded particle"),
    "missing yarn": ("badly woven|faulty", "a missing yarn|a missing pick|a missing end|a thin place in the weave"),
    "thick yarn": ("badly woven|uneven", "a thick yarn|a coarse thread|a yarn of the wrong thickness|a thick place"),
    "weave fault": ("badly woven|distorted", "a weaving fault|a distorted weave|a wrong weave|shifted yarns"),
    "density change": ("uneven|irregular", "a density change|a change of weave density|a wrong thread spacing|an area of another texture scale"),
    "knot": ("knotted|lumpy", "a knot|a slub|a lump in the yarn|a neps knot"),
    "misprint": ("misprinted|badly printed", "a misprint|a printing error|faulty print|missing print|smudged print"),
}  # fmt: skip
SHOTS = (
    "a photo of {}",
    "an image of {}",
    "a picture of {}",
    "a close-up photo of {}",
    "a photograph of {}",
    "{}",
    "an inspection image of {}",
    "a cropped photo of {}",
    "a grey photo of {}",
    "a view of {}",
    "a factory photo of {}",
    "this is {}",
    "a blurry photo of {}",
    "a bright photo of {}",
    "a dark photo of {}",
    "a camera image of {}",
    "there is {} in the picture",
    "a jpeg photo of {}",
    "a photo of {} for visual inspection",
    "we see {}",
)
COUNTS = ("", "one", "two", "three", "four")


def article(words: str) -> str:
    return ("an " if words[0].lower() in "aeiou" else "a ") + words


def choose(rng: Rng, words: tuple[str, ...] | list[str]) -> str:
    return words[int(rng.integers(len(words)))]


def named(rng: Rng, thing: str, adjectives: tuple[str, ...]) -> str:
    """The thing, at times with its material, at times only "object" or "surface"."""
    chance = rng.random()
    if chance < 0.12:
        return choose(rng, ("object", "item", "part", "product", "surface", "sample", "piece"))
    adjective = choose(rng, adjectives)
    if chance < 0.4 and not set(adjective.split()) & set(thing.split()):
        return f"{adjective} {thing}"
    return thing


def state(rng: Rng, what: str, kind: str | None, *, particular: float = 0.6) -> str:
    """A noun phrase about `what` in the state that `kind` (None: normal) says."""
    if kind is None:
        both = rng.random()
        if both < 0.5:
            return article(f"{choose(rng, NORMAL)} {what}")
        tail = choose(rng, NORMAL_TAILS)
        return f"{article(what)} {tail}" if both < 0.85 else f"{article(f'{choose(rng, NORMAL)} {what}')} {tail}"
    if rng.random() > particular:
        if rng.random() < 0.55:
            return article(f"{choose(rng, ABNORMAL)} {what}")
        return f"{article(what)} {choose(rng, ABNORMAL_TAILS)}"
    adjectives, nouns = (part.split("|") for part in KIND_WORDS[kind])
    if rng.random() < 0.45:
        return article(f"{choose(rng, adjectives)} {what}")
    return f"{article(what)} with {choose(rng, nouns)}"


def place_of(mask: Array) -> str:
    """Where in the frame a mask [S, S] lies, in words."""
    total = float(mask.sum())
    if total == 0:
        return ""
    high, wide = mask.shape
    x = float((mask.sum(0) * range(wide)).sum()) / total / wide
    y = float((mask.sum(1) * range(high)).sum()) / total / high
    across = "left" if x < 0.36 else "right" if x > 0.64 else ""
    down = "upper" if y < 0.36 else "lower" if y > 0.64 else ""
    if down and across:
        return f"{down} {across}"
    if across:
        return across
    return {"upper": "top", "lower": "bottom", "": "middle"}[down]


def extent_of(mask: Array) -> str:
    """How large a mask is, in words; empty when nothing is set."""
    share = float(mask.mean())
    if share == 0:
        return ""
    return "tiny" if share < 0.003 else "small" if share < 0.015 else "medium-sized" if share < 0.06 else "large"


def caption(rng: Rng, thing: str, adjectives: tuple[str, ...], kind: str | None, place: str, extent: str, count: int) -> str:  # fmt: skip
    """A sentence about one picture."""
    what = named(rng, thing, adjectives)
    if kind is None:
        return choose(rng, SHOTS).format(state(rng, what, None))
    chance = rng.random()
    nouns = KIND_WORDS[kind][1].split("|")
    sized = choose(rng, {"tiny": ("tiny", "very small", "minute"), "small": ("small", "little"), "medium-sized": ("medium-sized", "moderate"), "large": ("large", "big", "extensive")}[extent])  # fmt: skip
    spot = choose(rng, ("in the {}", "at the {}", "near the {}", "{}")).format(place)
    spot = spot if spot != place else f"on the {place} side" if place != "middle" else "in the centre"
    if chance < 0.3:
        return choose(rng, SHOTS).format(state(rng, what, kind, particular=0.75))
    if chance < 0.55:
        return f"{choose(rng, SHOTS).format(article(what))} with {choose(rng, nouns)} {spot}"
    if chance < 0.75:
        return f"{sized} {choose(rng, ('defect', 'flaw', 'fault', 'damage', 'anomaly'))} on {article(what)}: {choose(rng, nouns)} {spot}"
    if chance < 0.85 and 0 < count < len(COUNTS):
        plural = "defect" if count == 1 else "defects"
        return f"{article(what)} with {COUNTS[count]} {plural}, {choose(rng, nouns)}"
    if chance < 0.93:
        return f"{choose(rng, nouns)} {spot} of {article(what)}"
    return f"{state(rng, what, kind, particular=0.3)}, {spot}"


def pair(rng: Rng, thing: str, adjectives: tuple[str, ...], kind: str | None) -> tuple[str, str]:
    """A normal and an abnormal sentence about the same thing, for use as anchors."""
    what = named(rng, thing, adjectives)
    shot, other = choose(rng, SHOTS), choose(rng, SHOTS)
    kind = kind or choose(rng, list(KIND_WORDS))
    return shot.format(state(rng, what, None)), other.format(state(rng, what, kind, particular=0.55))


def with_second(rng: Rng, sentence: str, kind: str) -> str:
    """The sentence, and that there is a defect of another kind too."""
    noun = choose(rng, KIND_WORDS[kind][1].split("|"))
    return (
        f"{sentence}{choose(rng, (' and {}', ', also {}', ', and there is also {}', ', as well as {}')).format(noun)}"
    )

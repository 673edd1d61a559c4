"""From captions to sentences: what a good and a faulty product is called at each level. Torch-free.

The levels are those of FineGrainedAD (arXiv 2510.26464): the whole image, each part, the background. The abnormal
sentences put a state in the place of what the caption says of number, place or texture. The states are general ones;
none is taken from the defects of a data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlmad_fine_grained.captions import Captions, PartCaption

__all__ = ["TEMPLATE", "LevelSentences", "sentences_of"]

TEMPLATE = "a photo of {}."
"""Around each phrase where no vectors are learned in its place."""


@dataclass(frozen=True)
class LevelSentences:
    """One level of a caption.

    Args:
        kind: ``image``, ``part`` or ``background``.
        name: What it is about, such as ``"cookie"``.
        normal: Phrases for a good one.
        abnormal: Phrases for a faulty one.
    """

    kind: Literal["image", "part", "background"]
    name: str
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]


def sentences_of(captions: Captions, class_name: str) -> tuple[LevelSentences, ...]:
    """The levels of a product: first the image, then each part, then the background if the captions have one.

    Args:
        captions: What is known of the product.
        class_name: What the images show, where the captions have no ``class_name``.

    >>> captions = Captions(background="dark tray", parts=(PartCaption(name="nut", number=2, place="left"),))
    >>> image, nut, tray = sentences_of(captions, "plate")
    >>> nut.normal
    ('a flawless nut', '2 nuts', 'a nut at the left')
    >>> image.abnormal[-1], tray.normal
    ('a plate with a misplaced nut', ('a clean dark tray',))
    """
    levels = [_image(captions, captions.class_name or class_name.replace("_", " "))]
    levels += [_part(part) for part in captions.parts]
    if captions.background:
        ground = captions.background
        faulty = (f"a dirty {ground}", f"a damaged {ground}", f"a discoloured {ground}", f"an object on a {ground}")
        levels.append(LevelSentences("background", ground, (f"a clean {ground}",), faulty))
    return tuple(levels)


def _image(captions: Captions, name: str) -> LevelSentences:
    normal = [f"a flawless {name}", *([captions.foreground] if captions.foreground else [])]
    faulty = [f"a {state} {name}" for state in ("damaged", "broken", "discoloured")]
    for part in captions.parts:
        faulty += [f"a {name} with {state} {part.name}" for state in ("a missing", "an extra", "a misplaced")]
    return LevelSentences("image", name, tuple(normal), tuple(faulty))


def _part(part: PartCaption) -> LevelSentences:
    name = part.name
    normal = [f"a flawless {name}", f"{part.number} {_plural(name)}" if part.number > 1 else f"one {name}"]
    normal += [f"a {name} at the {part.place}"] if part.place else []
    normal += [f"{name}, {about}" for about in (part.relation, part.texture) if about]
    number = [f"a missing {name}", f"an extra {name}", f"a misplaced {name}"]
    texture = [f"a damaged {name}", f"a broken {name}", f"a discoloured {name}"]
    return LevelSentences("part", name, tuple(normal), (*number, *texture))


def _plural(name: str) -> str:
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"

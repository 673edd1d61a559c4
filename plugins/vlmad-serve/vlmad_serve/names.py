"""Names of products, in addresses and on the disk: few characters, so that no name can lead out of a folder."""

from __future__ import annotations

import re
import unicodedata

from vlmad_serve.refusal import Refusal

__all__ = ["NAME", "check_name", "display_name", "name_of"]

NAME = r"^[a-z0-9]([a-z0-9_-]{0,46}[a-z0-9])?$"
"""Pattern of a name; lower case, since some disks do not tell the cases apart."""
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10))})
_LONGEST = 200


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        Refusal: 422; it has other characters, is too long, or is a device on Windows.
    """
    if not re.fullmatch(NAME, name) or name in _RESERVED:
        raise Refusal(
            422,
            "a product name has 1 to 48 lower-case letters, digits, '-' and '_', and begins and ends with a letter or "
            "digit, such as 'metal-nut'.",
        )
    return name


def name_of(text: str) -> str:
    """A product name from any text, such as the name of a folder.

    >>> name_of("Metal Nut.vlmad"), name_of("../..")
    ('metal-nut', 'product')
    """
    stem = text.removesuffix(".vlmad").casefold()
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:48].strip("-_")
    return name if name and name not in _RESERVED else "product"


def display_name(text: str | None) -> str:
    r"""What a client calls its image: only for people to read, never used as a path.

    >>> display_name("C:\\photos\\a\x00.png")
    'a.png'
    """
    last = re.split(r"[/\\]", text or "")[-1]
    return "".join(letter for letter in last if letter.isprintable())[:_LONGEST].encode("utf-8", "replace").decode()

"""Refuses sentences that are longer than a text tower reads, for :meth:`TextTower.tokenize`."""

from __future__ import annotations

from collections.abc import Sequence

from vlmad_core.errors import IncompatibleError

__all__ = ["check_text_length"]


def check_text_length(texts: Sequence[str], counts: Sequence[int], limit: int) -> None:
    """A sentence that is cut off loses its end, where the difference between normal and abnormal may stand.

    Args:
        texts: The sentences.
        counts: Tokens of each, with those for start and end; of a longer sentence any number above ``limit``.
        limit: Tokens that the tower reads.

    Raises:
        IncompatibleError: The text shows the first sentence that is too long.
    """
    for text, count in zip(texts, counts, strict=True):
        if count > limit:
            shown = text if len(text) <= 60 else f"{text[:40]} ... {text[-15:]}"
            raise IncompatibleError(
                f"'{shown}' is too long: this text tower reads {limit} tokens, start and end included, and the rest "
                "would be cut off. Take a shorter class name, or shorter sentences."
            )

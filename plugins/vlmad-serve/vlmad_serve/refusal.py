"""A request that is refused: the status of HTTP and one sentence."""

from __future__ import annotations

from vlmad_core.errors import VlmadError

__all__ = ["Refusal"]


class Refusal(VlmadError):
    """The request cannot be answered as asked.

    Args:
        status: Of HTTP, 400 to 599.
        message: What is wrong and what to do, one or two sentences.
        retry_after: Seconds after which the same request may succeed; None: it will not.
    """

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

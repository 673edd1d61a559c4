"""Names on their way out: what to write instead, since which version, and in which version the old one goes.

An old public name stands in :data:`NAMES`, the old name of an option in ``renamed_options`` of its
:class:`~vlmad_core.component.Config`. Both go on working, with a warning, for two minor versions, and are listed in
``docs/stability.md``. Free of torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["NAMES", "Renamed", "with_new_names"]


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """What became of an old name.

    Args:
        new: The name to write instead.
        since: Version in which it got that name, such as ``"0.2"``.
        gone: Version that no longer knows the old one, two minor versions later or more, such as ``"0.4"``.
    """

    new: str
    since: str
    gone: str

    def warn(self, old: str, *, stacklevel: int = 1) -> None:
        """Say so, as a FutureWarning: those who run a program see it, and not only those who wrote it.

        Args:
            old: The old name as it was met, such as ``"vlmad_core.fusion"``.
            stacklevel: Calls between this one and whoever used the name.
        """
        text = f"{old} is called '{self.new}' since vlmad {self.since}; the old name goes in {self.gone}."
        warnings.warn(text, FutureWarning, stacklevel=stacklevel + 1)


NAMES: Mapping[str, Renamed] = {}
"""Old public names of ``vlmad_core``, which resolves them."""


def with_new_names(options: Any, renamed: Mapping[str, Renamed]) -> Any:
    """The options with every old name replaced by its new one; what is no mapping is handed on as it is.

    Args:
        options: As a user wrote them.
        renamed: Old name to what became of it.

    Raises:
        ValueError: An option is given under both names.
    """
    old_names = [old for old in renamed if isinstance(options, Mapping) and old in options]
    for old in old_names:
        if renamed[old].new in options:
            raise ValueError(f"'{old}' is the old name of '{renamed[old].new}'; give one of the two")
        renamed[old].warn(f"option '{old}'", stacklevel=2)
    return {renamed[key].new if key in old_names else key: options[key] for key in options} if old_names else options

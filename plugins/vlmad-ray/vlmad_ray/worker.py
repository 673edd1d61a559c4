"""What runs in each actor: bytes are fetched from where they lie, decoded there, and judged."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from vlmad_core.errors import VlmadError
from vlmad_core.run.predictor import Predictor
from vlmad_ray.sources import is_remote, open_filesystem

__all__ = ["Worker"]

_FETCHERS = 8


class Worker:
    """One detector in one actor.

    Args:
        **options: Of `vlmad_core.run.Predictor`.
    """

    def __init__(self, **options: Any) -> None:
        self.predictor = Predictor(**options)
        self.predictor.open()
        self.pool = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="vlmad-fetch")

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``path`` of each image to the columns of `Predictor`."""
        paths = [str(path) for path in batch["path"]]
        if not any(map(is_remote, paths)):
            return self.predictor({"path": np.array(paths, object)})
        fetched = list(self.pool.map(_fetch, paths))
        contents = np.empty(len(paths), object)
        contents[:] = [content for content, _ in fetched]
        found = self.predictor({"path": np.array(paths, object), "bytes": contents})
        for i, (_, error) in enumerate(fetched):
            if error is not None:
                found["error"][i] = error
        return found


def _fetch(path: str) -> tuple[bytes | None, str | None]:
    """The bytes, or why there are none: one address must not stop the others."""
    try:
        filesystem, inner = open_filesystem(path)
        content: bytes = filesystem.cat_file(inner)
    except VlmadError as error:
        return None, str(error)
    except Exception as error:  # each file system has errors of its own
        return None, f"{path}: cannot be fetched ({type(error).__name__}: {' '.join(str(error).split())})."
    return content, None

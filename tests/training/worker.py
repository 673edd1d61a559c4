"""A training in a process of its own: `worker.py OUT JSON`, a line on stdout for each step."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import conftest

import vlmad_core


def main() -> None:
    conftest.no_pictures()
    changes = json.loads(sys.argv[2])
    detector = conftest.make_detector(changes.pop("extractor", "tiny-map"))
    vlmad_core.train(
        detector,
        conftest.tiny_dataset(),
        sys.argv[1],
        options=changes,
        progress=lambda now: print(now.done, flush=True),
        on_message=lambda text: print(text, file=sys.stderr, flush=True),
    )


if __name__ == "__main__":
    main()

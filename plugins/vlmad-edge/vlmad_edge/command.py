"""``vlmad-edge nut.onnx PATHS``: verdicts on a machine without torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmad_edge.shared.errors import ImageError, VlmadError

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "vlmad-edge",
        description="Judge images with a detector that `vlmad export` wrote: a verdict and a score each.",
        epilog="Exit codes: 0 all judged; 1 refused; 2 wrong usage; 3 some images could not be judged; 4 --fail-on.",
    )
    parser.add_argument("model", help="nut.onnx or nut.xml, with nut.json beside it")
    parser.add_argument("paths", nargs="+", help="images, folders, glob patterns")
    parser.add_argument("--out", type=Path, help="folder for results.jsonl and overlays; what is there is replaced")
    parser.add_argument("--json", action="store_true", help="one line of JSON an image on stdout")
    parser.add_argument("--threads", type=int, help="of the runtime")
    parser.add_argument("--device", default="cpu", help="cpu, or another one that the runtime has")
    parser.add_argument("--fail-on", choices=("review", "reject"), help="exit code 4 where a verdict is this or worse")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    given = _parser().parse_args(arguments)
    try:
        code = _judge(given)
    except (VlmadError, OSError) as error:
        sys.stderr.write(f"vlmad-edge: {error}\n")
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _judge(given: argparse.Namespace) -> int:
    from vlmad_edge.detector import load
    from vlmad_edge.shared.find import search

    found = search(given.paths)
    if found.passed_over:
        sys.stderr.write(f"vlmad-edge: {found.message}\n")
    detector = load(given.model, threads=given.threads, device=given.device)
    rows: list[dict[str, Any]] = []
    worst = failed = 0
    for path in found.images:
        try:
            prediction = detector.predict(path)
        except ImageError as error:
            failed += 1
            row: dict[str, Any] = {"path": str(path), "error": str(error)}
        else:
            row = prediction.to_dict()
            worst = max(worst, {"review": 1, "reject": 2, "not this part": 2}.get(prediction.verdict.label, 0))
            if given.out is not None:
                row["overlay"] = _save_overlay(prediction, given.out)
        rows.append(row)
        text = json.dumps(row) if given.json else _line(row)
        sys.stdout.write(f"{text.encode('utf-8', 'backslashreplace').decode()}\n")
    if given.out is not None:
        from vlmad_edge.shared.files import write_whole

        given.out.mkdir(parents=True, exist_ok=True)
        write_whole(given.out / "results.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    if failed:
        sys.stderr.write(f"vlmad-edge: {failed} of {len(rows)} images could not be judged.\n")
        return 3
    limit = {"review": 1, "reject": 2}.get(given.fail_on, 3)
    return 4 if worst >= limit else 0


def _line(row: dict[str, Any]) -> str:
    if row.get("error"):
        return f"error\t\t{row['error']}"
    return f"{row['verdict']}\t{row['score']:.6g}\t{row['path']}"


def _save_overlay(prediction: Any, out: Path) -> str:
    import hashlib
    import io

    from vlmad_edge.shared.files import write_whole

    digest = hashlib.sha256(prediction.path.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    name = f"overlays/{Path(prediction.path).stem[-48:]}-{digest}.jpg"
    (out / "overlays").mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    prediction.overlay().save(buffer, "JPEG", quality=90)
    write_whole(out / name, buffer.getvalue())
    return name

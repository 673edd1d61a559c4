"""A video, a camera or a stream from its first frame to its last: frames in, events and an annotated video out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.belt import Belt
from vlmad_watch.frames import LiveFrames, VideoFrame, is_live, read_video
from vlmad_watch.inspector import FrameResult, Inspector, Line
from vlmad_watch.outputs import AnnotatedVideo, Events, annotated

__all__ = ["EVENTS", "VIDEO", "watch_stream"]

EVENTS, VIDEO = "events.jsonl", "annotated.mp4"
_AXES: dict[str, tuple[Literal["x", "y"], int]] = {
    "left": ("x", -1),
    "right": ("x", 1),
    "up": ("y", -1),
    "down": ("y", 1),
}


def watch_stream(
    source: str,
    out: Path,
    inspector: Inspector,
    *,
    line: tuple[tuple[float, float, float], str] | None = None,
    every: int = 1,
    video: bool = True,
    seconds: float | None = None,
    tell: Callable[[str], None] = lambda text: None,
    show: Callable[[dict[str, Any]], None] | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    live: LiveFrames | None = None,
) -> str:
    """Inspect until the source ends or a stop is asked for.

    Args:
        source: A video file, a camera number, or an address.
        out: Folder for ``events.jsonl`` and ``annotated.mp4``; those of an earlier call on a file are replaced, those
            of a live source are kept.
        inspector: Its line is set from ``line`` once the size of the frames is known.
        line: Length of a part, pitch, beginning of the first part in pixels; and ``left``, ``right``, ``up``, ``down``.
        every: Of a file, every n-th frame.
        video: Whether the annotated video is written.
        seconds: Of a live source.
        tell: Called with sentences.
        show: Called with each event.
        is_stopped: Asked after each frame.
        live: The frames of a live source; opened if None.

    Returns:
        How many frames were scored, skipped and dropped, in a sentence.

    Raises:
        VlmadError: The file cannot be read, or ``out`` cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be made a folder ({error.strerror}).") from error
    if live is None and is_live(source):
        live = LiveFrames(source, tell)
    frames: Iterable[VideoFrame] = read_video(Path(source), every=every) if live is None else live
    started, last = time.monotonic(), None
    with ExitStack() as stack:
        if live is not None:
            stack.callback(live.stop)
        # What a camera gave is gone: its events are added to those of before, and its videos have names of their own.
        mode, name = ("w", VIDEO) if live is None else ("a", f"annotated-{datetime.now():%Y%m%d-%H%M%S}.mp4")
        events = Events(stack.enter_context((out / EVENTS).open(mode, encoding="utf-8")))
        written = stack.enter_context(AnnotatedVideo(out / name)) if video else None
        for frame in frames:
            if line is not None and inspector.line is None:
                inspector.line = _line(line, frame)
            last = _one(inspector, frame, events, written, show) or last
            if is_stopped() or (live is not None and seconds is not None and time.monotonic() - started >= seconds):
                break
        events.close(inspector.close(), last)
    counts = [f"{inspector.n_scored} frames scored"]
    counts += [f"{inspector.n_between} without a whole part"] if inspector.n_between else []
    counts += [f"{inspector.n_unchanged} unchanged"] if inspector.n_unchanged else []
    if live is not None:
        counts.append(f"{live.n_dropped} of {live.n_read} dropped, since the machine was busy")
    return f"{', '.join(counts)}, in {time.monotonic() - started:.1f} s; see {out}"


def _one(
    inspector: Inspector,
    frame: VideoFrame,
    events: Events,
    written: AnnotatedVideo | None,
    show: Callable[[dict[str, Any]], None] | None,
) -> FrameResult | None:
    result = inspector.step(frame)
    if result is None:
        return None
    found = events.add(result)
    if written is not None:
        written.add(annotated(result), frame.seconds)
    for event in found if show is not None else ():
        show(event)  # type: ignore[misc]  # there is something to show only where it is not None
    return result


def _line(line: tuple[tuple[float, float, float], str], frame: VideoFrame) -> Line:
    (length, pitch, first), direction = line
    axis, sign = _AXES[direction]
    view = frame.pixels.shape[1 if axis == "x" else 0]
    return Line(Belt(view, length, pitch, first, sign), axis)

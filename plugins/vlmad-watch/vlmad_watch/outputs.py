"""What is written of a video: events, one JSON line each, and the frames with what was found drawn on them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from PIL import Image, ImageDraw

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.temporal import PartVerdict
from vlmad_watch.frames import Pixels
from vlmad_watch.inspector import FrameResult

__all__ = ["AnnotatedVideo", "Events", "annotated"]

_COLOURS = {"reject": (213, 94, 0), "pass": (0, 158, 115)}
_REGION = (255, 210, 0)


class Events:
    """``events.jsonl``: when an alarm begins and ends, and the verdict on each part.

    Args:
        file: Open for text; a line is written whole and flushed.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._is_alarm = False

    def add(self, result: FrameResult) -> list[dict[str, Any]]:
        """Write what has happened in a frame; gives the same."""
        found = [self._part(part, result) for part in result.finished]
        if result.verdict is not None and result.score is not None:
            is_alarm = result.verdict.label == "reject"
            if is_alarm != self._is_alarm:
                found.append(
                    {
                        "event": "alarm begins" if is_alarm else "alarm ends",
                        **_at(result),
                        "part": result.part,
                        "score": result.score.score,
                        "mean": result.verdict.mean,
                        "reason": "mean" if result.verdict.is_raised else "region",
                        "regions": [list(box) for box in result.verdict.persistent],
                    }
                )
                self._is_alarm = is_alarm
        self._write(found)
        return found

    def close(self, part: PartVerdict | None, last: FrameResult | None) -> None:
        """Write the verdict on the part that was in view when the source ended."""
        if part is not None and last is not None:
            self._write([self._part(part, last)])

    def _part(self, part: PartVerdict, result: FrameResult) -> dict[str, Any]:
        return {
            "event": "part",
            **_at(result),
            "part": part.part,
            "verdict": part.label,
            "n_frames": part.n_frames,
            "n_alarms": part.n_alarms,
            "best_score": part.best_score,
        }

    def _write(self, events: list[dict[str, Any]]) -> None:
        self._file.write("".join(f"{json.dumps(event)}\n" for event in events))
        self._file.flush()


def _at(result: FrameResult) -> dict[str, Any]:
    return {"frame": result.frame.number, "seconds": round(result.frame.seconds, 3)}


def annotated(result: FrameResult) -> Pixels:
    """The frame with the window of the part in the colour of its verdict, regions, score and mean."""
    image = Image.fromarray(result.frame.pixels)
    draw = ImageDraw.Draw(image)
    text = "no part"
    if result.window is not None and result.verdict is not None and result.score is not None:
        left, top, right, bottom = result.window
        colour = _COLOURS[result.verdict.label]
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=2)
        for box in result.score.boxes:
            draw.rectangle(_moved(box, left, top), outline=_REGION)
        for box in result.verdict.persistent:
            draw.rectangle(_moved(box, left, top), outline=_COLOURS["reject"], width=2)
        name = f"part {result.part}  " if result.part else ""
        text = f"{name}{result.verdict.label}  {result.score.score:.3f}  mean {result.verdict.mean:.3f}"
    width = draw.textlength(text)
    draw.rectangle((0, 0, width + 6, 14), fill=(0, 0, 0))
    draw.text((3, 1), text, fill=(255, 255, 255))
    return np.asarray(image)


def _moved(box: tuple[float, float, float, float], left: int, top: int) -> tuple[float, float, float, float]:
    return (box[0] + left, box[1] + top, box[2] + left - 1, box[3] + top - 1)


class AnnotatedVideo:
    """An MP4 with one picture for each frame that was looked at, at the times of the source.

    Args:
        path: Replaced when the video is whole; until then it is ``NAME.part.mp4``.

    Raises:
        ConfigError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        import av

        self._path, self._part = path, path.with_suffix(".part.mp4")
        try:
            self._container = av.open(str(self._part), "w")
        except (OSError, av.error.FFmpegError) as error:
            raise ConfigError(f"{path}: cannot be written ({error}).") from error
        self._stream: Any = None
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
        if self._stream is None:
            self._part.unlink(missing_ok=True)
        else:
            self._part.replace(self._path)

    def add(self, pixels: Pixels, seconds: float) -> None:
        """Add a picture; all have the size of the first, cut to even sides."""
        import av

        height, width = (side - side % 2 for side in pixels.shape[:2])
        if self._stream is None:
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(codec, rate=30)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, 1000)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        frame.pts = self._last = max(self._last + 1, round(1000 * seconds))
        frame.time_base = Fraction(1, 1000)
        self._container.mux(self._stream.encode(frame))

"""Frames of a video file, a camera or a stream, by PyAV. What is live keeps only the newest frame."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import ConfigError, VlmadError

__all__ = ["LiveFrames", "VideoFrame", "is_live", "open_frames", "read_video", "without_password"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame.

    Attributes:
        number: In the source, from 0; of live sources those count too that were dropped.
        seconds: Since the first frame.
        pixels: ``[H, W, 3]``, RGB.
    """

    number: int
    seconds: float
    pixels: Pixels


def is_live(source: str) -> bool:
    """Whether frames come whether or not they are read: a camera number, or an address."""
    return source.isdecimal() or "://" in source


def without_password(source: str) -> str:
    """The address as it may be shown and written down.

    >>> without_password("rtsp://user:secret@10.0.0.7/stream")
    'rtsp://10.0.0.7/stream'
    """
    return re.sub(r"(?<=://)[^/@]*@", "", source)


def open_frames(source: str) -> Iterator[VideoFrame]:
    """Frames of a source in order, until it ends or fails.

    Args:
        source: A file, a camera number, or an address such as ``rtsp://``.

    Raises:
        VlmadError: It cannot be opened or read; the text says why, without a password.
    """
    import av

    name, options = _opened_as(source)
    try:
        with av.open(name, timeout=(10.0, 10.0), **options) as container:
            if not container.streams.video:
                raise ConfigError(f"{without_password(source)}: has no pictures that move.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            first: float | None = None
            for number, frame in enumerate(container.decode(stream)):
                now = float(frame.time) if frame.time is not None else time.monotonic()
                first = now if first is None else first
                yield VideoFrame(number, now - first, frame.to_ndarray(format="rgb24"))
    except (OSError, av.error.FFmpegError) as error:
        reason = " ".join(str(error).replace(source, without_password(source)).split())
        raise VlmadError(f"{without_password(source)}: cannot be read ({reason}).") from None


def _opened_as(source: str) -> tuple[str, dict[str, Any]]:
    if source.isdecimal():
        if sys.platform == "darwin":
            return source, {"format": "avfoundation", "options": {"framerate": "30"}}
        return f"/dev/video{source}", {"format": "v4l2"}
    if source.startswith("rtsp://"):
        return source, {"options": {"rtsp_transport": "tcp"}}
    return source, {}


def read_video(path: Path, *, every: int = 1) -> Iterator[VideoFrame]:
    """Frames of a file, all of them or every n-th; none is dropped, since a file can wait.

    Raises:
        VlmadError: It cannot be read.
    """
    for frame in open_frames(str(path)):
        if frame.number % every == 0:
            yield frame


class LiveFrames:
    """The newest frame of a live source, read in a thread of its own; connects again when it fails or ends.

    Args:
        source: A camera number or an address.
        tell: Called with sentences about lost and new connections.
        opener: How it is opened.
        longest_wait: Seconds between two tries, at most; the first is after one.

    Attributes:
        n_read: Frames that arrived.
        n_dropped: Frames that were replaced by a newer one before they were taken.
        n_connections: How often it was opened with success.
    """

    def __init__(
        self,
        source: str,
        tell: Callable[[str], None],
        *,
        opener: Callable[[str], Iterator[VideoFrame]] = open_frames,
        longest_wait: float = 30.0,
    ) -> None:
        self.n_read = self.n_dropped = self.n_connections = 0
        self._source, self._tell, self._opener, self._longest_wait = source, tell, opener, longest_wait
        self._newest: VideoFrame | None = None
        self._arrived = threading.Condition()
        self._is_stopped = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._read, name="vlmad-watch-camera", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[VideoFrame]:
        while not self._is_stopped.is_set():
            with self._arrived:
                self._arrived.wait_for(lambda: self._newest is not None or self._is_stopped.is_set(), timeout=0.5)
                frame, self._newest = self._newest, None
            if frame is not None:
                yield frame

    def stop(self) -> None:
        """End the thread and the iteration."""
        self._is_stopped.set()
        with self._arrived:
            self._arrived.notify_all()

    def _read(self) -> None:
        wait, name = min(1.0, self._longest_wait), without_password(self._source)
        while not self._is_stopped.is_set():
            reason = "it ended"
            try:
                for frame in self._opener(self._source):
                    if frame.number == 0:
                        self.n_connections += 1
                        wait = min(1.0, self._longest_wait)
                        if self.n_connections > 1:
                            self._tell(f"{name}: connected again.")
                    self._put(frame)
                    if self._is_stopped.is_set():
                        return
            except VlmadError as error:
                reason = str(error).removeprefix(f"{name}: ").rstrip(".")
            self._tell(f"{name}: {reason}; the next try is in {wait:.0f} s.")
            self._is_stopped.wait(wait)
            wait = min(2 * wait, self._longest_wait)

    def _put(self, frame: VideoFrame) -> None:
        # Numbers and times go on over connections.
        frame = VideoFrame(self.n_read, time.monotonic() - self._started, frame.pixels)
        with self._arrived:
            self.n_read += 1
            self.n_dropped += self._newest is not None
            self._newest = frame
            self._arrived.notify()

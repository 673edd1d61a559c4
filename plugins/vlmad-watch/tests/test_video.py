"""Videos, cameras and streams: nothing is scored twice, what is dropped is counted, and parts get one verdict."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.inspection.belt import Belt
from vlmad_core.inspection.temporal import TemporalFilter
from vlmad_watch.frames import LiveFrames, VideoFrame, is_live, open_frames, read_video, without_password
from vlmad_watch.inspector import FrameScore, Inspector, Line
from vlmad_watch.outputs import annotated
from vlmad_watch.stream import EVENTS, VIDEO, watch_stream


def frame(number: int, pixels: np.ndarray | None = None) -> VideoFrame:
    return VideoFrame(number, number / 25, np.zeros((32, 48, 3), np.uint8) if pixels is None else pixels)


def brightest(pixels: np.ndarray) -> FrameScore:
    """A detector of bright squares."""
    rows, columns = np.nonzero(pixels.mean(axis=2) > 200)
    boxes = ()
    if rows.size:
        boxes = ((float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)),)
    return FrameScore(float(pixels.mean(axis=2).max()) / 255, boxes)


def belt_frames(count: int, speed: int = 6) -> list[np.ndarray]:
    """Parts 40 long every 60 pixels on a view of 100, with texture; part 1 has a bright square."""
    rng = np.random.default_rng(0)
    belt = np.full((40, 100 + 60 * 6 + 100), 60.0)
    for number in range(6):
        start = 60 + 60 * number
        belt[:, start : start + 40] = 110 + rng.normal(0, 25, (40, 40))
    belt[10:18, 60 + 60 + 12 : 60 + 60 + 20] = 255
    belt = np.clip(belt, 0, 255)
    windows = [belt[:, speed * i : speed * i + 100] for i in range(count)]
    return [np.repeat(window[..., None], 3, axis=2).astype(np.uint8) for window in windows]


def write_video(path: Path, pictures: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


FILTER = TemporalFilter(high=0.95, weight=1.0, k=2, n=3, max_distance=4)


def test_every_frame_of_a_file_is_read_or_every_nth(tmp_path: Path):
    video = write_video(tmp_path / "a.mp4", belt_frames(10))
    frames = list(read_video(video))
    assert [one.number for one in frames] == list(range(10))
    assert frames[5].seconds == pytest.approx(0.2) and frames[0].pixels.shape == (40, 100, 3)
    assert [one.number for one in read_video(video, every=4)] == [0, 4, 8]


def test_parts_on_a_line_have_one_verdict_each_and_one_video_shows_them(tmp_path: Path):
    video = write_video(tmp_path / "line.mp4", belt_frames(56))
    inspector = Inspector(brightest, FILTER)
    message = watch_stream(str(video), tmp_path / "out", inspector, line=((40, 60, 60), "left"))
    events = [json.loads(line) for line in (tmp_path / "out" / EVENTS).read_text().splitlines()]
    parts = {event["part"]: event["verdict"] for event in events if event["event"] == "part"}
    assert parts == {"0": "pass", "1": "reject", "2": "pass", "3": "pass", "4": "pass", "5": "pass"}
    begins = [event for event in events if event["event"] == "alarm begins"]
    assert [event["part"] for event in begins] == ["1"]
    assert "frames scored" in message
    written = list(read_video(tmp_path / "out" / VIDEO))
    assert len(written) == 56 and written[0].pixels.shape == (40, 100, 3)
    assert not list((tmp_path / "out").glob("*.part*"))


def test_the_window_follows_the_part():
    inspector = Inspector(brightest, FILTER, Line(Belt(100, 40, 60, 60)))
    results = [inspector.step(frame(i, picture)) for i, picture in enumerate(belt_frames(20))]
    starts = [(result.part, result.window[0]) for result in results if result.window is not None]
    assert starts[:4] == [("0", 60), ("0", 54), ("0", 48), ("0", 42)]
    boxes = [result.score.boxes[0][0] for result in results if result.part == "1" and result.score.boxes]
    assert len(boxes) > 4 and max(boxes) - min(boxes) <= 1  # the defect stands still in the part


def test_frames_that_have_not_changed_are_skipped_and_counted():
    rng = np.random.default_rng(0)
    still = rng.integers(90, 110, (64, 64, 3)).astype(np.uint8)
    moved = still.copy()
    moved[20:30, 20:30] += 60
    calls: list[int] = []

    def score(pixels: np.ndarray) -> FrameScore:
        calls.append(1)
        return brightest(pixels)

    inspector = Inspector(score, FILTER, tolerance=3.0)
    noisy = [np.clip(still + rng.normal(0, 1, still.shape), 0, 255).astype(np.uint8) for _ in range(4)]
    results = [inspector.step(frame(i, picture)) for i, picture in enumerate([still, *noisy, moved, moved])]
    assert [result is None for result in results] == [False, True, True, True, True, False, True]
    assert (len(calls), inspector.n_scored, inspector.n_unchanged) == (2, 2, 5)


def test_a_camera_without_a_line_is_one_endless_part(tmp_path: Path):
    pictures = [np.full((32, 48, 3), value, np.uint8) for value in (50, 50, 250, 250, 50)]
    video = write_video(tmp_path / "a.mp4", pictures)
    watch_stream(str(video), tmp_path / "out", Inspector(brightest, TemporalFilter(high=0.9, weight=1)), video=False)
    events = [json.loads(line) for line in (tmp_path / "out" / EVENTS).read_text().splitlines()]
    assert [event["event"] for event in events] == ["alarm begins", "alarm ends", "part"]
    assert [event["frame"] for event in events[:2]] == [2, 4] and not (tmp_path / "out" / VIDEO).exists()


def test_a_slow_machine_gets_the_newest_frame_and_the_others_are_counted():
    gate = threading.Event()

    def camera(source: str) -> Iterator[VideoFrame]:
        for number in range(50):
            yield frame(number)
        gate.set()
        time.sleep(60)

    live = LiveFrames("0", lambda text: None, opener=camera)
    assert gate.wait(10)
    taken = iter(live)
    first = next(taken)
    live.stop()
    assert first.number == 49 and (live.n_read, live.n_dropped) == (50, 49)
    assert list(taken) == []


def test_a_lost_connection_is_told_and_made_again():
    message: list[str] = []
    tries: list[str] = []

    def camera(source: str) -> Iterator[VideoFrame]:
        tries.append(source)
        if len(tries) == 2:
            raise VlmadError("rtsp://10.0.0.7/a: cannot be read (timed out).")
        yield frame(0)
        yield frame(1)

    live = LiveFrames("rtsp://user:secret@10.0.0.7/a", message.append, opener=camera, longest_wait=0.01)
    deadline = time.monotonic() + 10
    while live.n_connections < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    live.stop()
    assert live.n_connections >= 3 and len(tries) >= 4
    text = " ".join(message)
    assert "it ended" in text and "cannot be read (timed out)" in text and "connected again" in text
    assert "secret" not in text


def test_events_of_a_camera_are_added_and_videos_have_their_own_names(tmp_path: Path):
    def camera(source: str) -> Iterator[VideoFrame]:
        yield frame(0, np.full((32, 48, 3), 250, np.uint8))
        time.sleep(60)

    for _ in range(2):
        live = LiveFrames("0", lambda text: None, opener=camera)
        inspector = Inspector(brightest, TemporalFilter(high=0.9, weight=1))
        message = watch_stream("0", tmp_path, inspector, live=live, is_stopped=lambda: True)
        assert "0 of 1 dropped" in message
    events = [json.loads(line)["event"] for line in (tmp_path / EVENTS).read_text().splitlines()]
    assert events == ["alarm begins", "part"] * 2 and list(tmp_path.glob("annotated-*.mp4"))


def test_sources_that_cannot_be_read_are_a_sentence_without_a_password(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VlmadError, match=r"text\.mp4: cannot be read"):
        list(read_video(tmp_path / "text.mp4"))
    with pytest.raises(VlmadError) as error:
        list(open_frames("file://user:secret@nowhere/none.mp4"))
    assert "secret" not in str(error.value)
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
    with pytest.raises(ConfigError, match="has no pictures that move"):
        list(read_video(tmp_path / "sound.wav"))
    assert [is_live(source) for source in ("0", "rtsp://a/b", "a.mp4", "folder")] == [True, True, False, False]
    assert without_password("http://a/b@c") == "http://a/b@c"


def test_the_picture_shows_the_part_and_its_regions():
    inspector = Inspector(brightest, FILTER, Line(Belt(100, 40, 60, 60)))
    picture = belt_frames(20)[14]  # part 1 in view, its square at 48 + 12
    result = Inspector(brightest, FILTER).step(frame(0, picture))
    drawn = annotated(result)
    assert drawn.shape == picture.shape and (drawn != picture).any()
    assert (annotated(inspector.step(frame(0, picture))) != picture).any()

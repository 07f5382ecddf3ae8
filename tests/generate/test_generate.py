"""The flow of a generation, from files to a file: what changes in the frames, and what does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from scipy.io import wavfile

from lipscore.errors import MediaError, UsageError
from lipscore.generate.wav2lip import flow
from lipscore.generate.wav2lip.checkpoint import Checkpoint
from lipscore.generate.wav2lip.errors import NotGeneratedError
from lipscore.generate.wav2lip.faces.boxes import Pads
from lipscore.generate.wav2lip.faces.picture import Crop, Framing
from lipscore.generate.wav2lip.generator import Generator
from lipscore.generate.wav2lip.options import Box, Options
from lipscore.media.encode import frame_sink
from lipscore.media.read import frames_at, read_pcm
from lipscore.pool import Pool, available_cores
from lipscore.types import Detection, Frame

SIZE = (128, 96)
BOX = Box(top=20, bottom=80, left=30, right=90)
KNOWN = Options(box=BOX, codec="lossless")


class Echo(Generator):
    """In the network's place: gives the face that it got."""

    def __init__(self, batch_size: int = 4) -> None:
        self.device, self.batch_size, self.pool = torch.device("cpu"), batch_size, Pool()
        self.checkpoint = Checkpoint({}, Path("echo"), "0" * 64, "")

    def __call__(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        assert mels.shape == (len(faces), 1, 80, 16)
        return faces[:, 3:]


class Boxes:
    """A detector that knows: a box per frame number, or None."""

    name, stride, bridge, doubtful, batch_size, turn = "known", 1, 0, (0.0, 0.0), 5, nullcontext()

    def __init__(self, boxes: Sequence[Sequence[int] | None]) -> None:
        self.boxes = boxes

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        boxes = [self.boxes[index] for index in indices]
        return [[Detection(k, np.array(b, np.float32), 1.0)] if b else [] for k, b in zip(indices, boxes, strict=True)]


def pictures(count: int, size: tuple[int, int] = SIZE) -> list[Frame]:
    rng = np.random.default_rng(0)
    noise = cv2.resize(rng.integers(0, 256, (8, 20, 3), np.uint8), (size[0] * 2, size[1]))
    return [np.ascontiguousarray(noise[:, 2 * k : 2 * k + size[0]]) for k in range(count)]


def lossless(path: Path, frames: Sequence[Frame], fps: int = 25) -> Path:
    size = (frames[0].shape[1], frames[0].shape[0])
    with frame_sink(path, size, Fraction(fps), [], ["-c:v", "ffv1", "-pix_fmt", "bgr0"]) as sink:
        for frame in frames:
            sink(frame)
    return path


def sound(path: Path, seconds: float, seed: int = 0) -> Path:
    x = (np.random.default_rng(seed).standard_normal(round(seconds * 16000)) * 3000).astype(np.int16)
    wavfile.write(path, 16000, x)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return lossless(tmp_path / "clip.mkv", pictures(20))


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    return sound(tmp_path / "speech.wav", 0.8)  # 65 columns: 17 windows at 25 fps


@pytest.fixture(scope="module")
def drawn(drawn_wav2lip: dict[str, torch.Tensor]) -> Generator:
    return Generator(Checkpoint(drawn_wav2lip, Path("drawn"), "1" * 64, ""))


def never(path: Path) -> Boxes:
    raise AssertionError("no detector is needed")


def given(*boxes: Sequence[int] | None) -> Callable[[Path], Boxes]:
    return lambda _: Boxes(boxes)


def reason_of(*args: Any) -> tuple[str, str]:
    with pytest.raises(NotGeneratedError) as caught:
        flow.generate(*args)
    return caught.value.reason, str(caught.value)


def test_with_the_face_itself_only_the_box_changes_and_hardly(clip: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    made = flow.generate(clip, speech, out, Echo(), never, KNOWN)
    assert (made.fps, made.size, made.picture_frames) == (25, SIZE, 17)
    assert made.states == ("generated",) * 17 and made.boxes.tolist() == [[30, 20, 90, 80]] * 17
    written = list(frames_at(out, None))
    assert len(written) == 17
    outside = np.ones(SIZE[::-1], bool)
    outside[20:80, 30:90] = False
    for frame, before in zip(written, pictures(17), strict=True):
        np.testing.assert_array_equal(frame[outside], before[outside])
        assert np.abs(frame.astype(int) - before)[20:80, 30:90].mean() < 3
    np.testing.assert_array_equal(read_pcm(out)[:12800], wavfile.read(speech)[1])


def test_a_silent_still_image_gives_one_patch(tmp_path: Path, drawn: Generator) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), pictures(1)[0])
    wavfile.write(tmp_path / "silence.wav", 16000, np.zeros(16000, np.int16))
    out = tmp_path / "out.mp4"
    flow.generate(tmp_path / "face.png", tmp_path / "silence.wav", out, drawn, never, KNOWN)
    frames = np.stack(list(frames_at(out, None))).astype(int)
    assert len(frames) == 22
    assert np.abs(frames - frames[0]).max() <= 1
    assert np.abs(frames[0] - pictures(1)[0]).max() > 1


def test_sound_that_is_five_frames_later_moves_the_lips_five_frames_later(tmp_path: Path, drawn: Generator) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), pictures(1)[0])
    rate, x = wavfile.read(sound(tmp_path / "early.wav", 1.2))
    wavfile.write(tmp_path / "late.wav", rate, np.concatenate([wavfile.read(sound(tmp_path / "a.wav", 0.2, 1))[1], x]))
    runs = []
    for name in ("early", "late"):
        out = tmp_path / f"{name}.mp4"
        flow.generate(tmp_path / "face.png", tmp_path / f"{name}.wav", out, drawn, never, KNOWN)
        runs.append(np.stack(list(frames_at(out, None))).astype(int))
    early, late = runs
    assert len(late) == len(early) + 5
    inside = slice(1, -2)  # the first window and the last ones see the ends of the sound
    assert np.abs(late[5:][inside] - early[inside]).max() <= 1
    assert np.abs(late[4:-1][inside] - early[inside]).max() > 1  # four frames are not it


def test_a_short_video_starts_again_and_a_static_one_stays(clip: Path, tmp_path: Path) -> None:
    speech = sound(tmp_path / "long.wav", 1.4)  # 32 windows, 20 frames
    made = flow.generate(clip, speech, tmp_path / "again.mp4", Echo(), never, KNOWN)
    frames = list(frames_at(tmp_path / "again.mp4", None))
    assert (made.picture_frames, len(frames)) == (20, 32)
    corners = [frame[0, :, 0] for frame in frames]
    np.testing.assert_array_equal(corners[20], corners[0])
    np.testing.assert_array_equal(corners[31], pictures(12)[11][0, :, 0])
    flow.generate(clip, speech, tmp_path / "static.mp4", Echo(), never, Options(box=BOX, codec="lossless", static=True))
    still = list(frames_at(tmp_path / "static.mp4", None))
    assert all((frame == still[0]).all() for frame in still) and len(still) == 32


def test_the_evaluation_scripts_refuse_or_stretch_a_short_video(clip: Path, tmp_path: Path) -> None:
    speech = sound(tmp_path / "long.wav", 1.4)
    lists: dict[str, Any] = {"codec": "lossless", "box": BOX, "last_chunk": False, "fixed_fps": 25.0}
    refuse, stretch = Options(**lists, shorter="refuse"), Options(**lists, shorter="stretch")
    reason, message = reason_of(clip, speech, tmp_path / "out.mp4", Echo(), never, refuse)
    assert reason == "too_few_frames" and "20 frames" in message and "31" in message
    assert not (tmp_path / "out.mp4").exists()
    flow.generate(clip, speech, tmp_path / "out.mp4", Echo(), never, stretch)
    frames = list(frames_at(tmp_path / "out.mp4", None))
    order = flow.stretched(20, 31)
    assert len(frames) == 31
    for frame, number in zip(frames, order, strict=True):
        np.testing.assert_array_equal(frame[0], pictures(20)[number][0])


FACE = (30, 20, 90, 70)


def test_frames_without_a_face_are_named(clip: Path, speech: Path, tmp_path: Path) -> None:
    gaps = [FACE, None, None, FACE, None, *[FACE] * 15]
    reason, message = reason_of(clip, speech, tmp_path / "out.mp4", Echo(), given(*gaps), Options())
    assert reason == "no_face"
    assert "3 of 17 frames (frames 1-2, 4)" in message and "clip.mkv" in message and "--missing keep" in message
    assert list(tmp_path.glob("out*")) == []
    assert reason_of(clip, speech, tmp_path / "out.mp4", Echo(), given(*[None] * 20), Options())[0] == "no_face"
    keep = Options(missing="keep", same_person="fork")
    reason, message = reason_of(clip, speech, tmp_path / "out.mp4", Echo(), given(None, *gaps), keep)
    assert reason == "no_face" and "frame 0" in message


def test_frames_without_a_face_are_kept_to_the_bit(clip: Path, speech: Path, tmp_path: Path) -> None:
    gaps = [*[FACE] * 6, None, None, None, *[FACE] * 11]
    options = Options(missing="keep", codec="lossless", pads=Pads(0, 10, 0, 0))
    made = flow.generate(clip, speech, tmp_path / "out.mp4", Echo(), given(*gaps), options)
    assert (made.count("generated"), made.count("no_face")) == (14, 3)
    for number, (frame, before) in enumerate(zip(frames_at(tmp_path / "out.mp4", None), pictures(17), strict=True)):
        assert (frame == before).all() == (made.states[number] == "no_face")
    assert made.boxes[0].tolist() == [30, 20, 90, 80]


def test_interpolated_frames_are_generated(clip: Path, speech: Path, tmp_path: Path) -> None:
    gaps = [FACE, None, (34, 20, 94, 70), *[FACE] * 17]
    options = Options(missing="interpolate", codec="lossless", smooth=False)
    made = flow.generate(clip, speech, tmp_path / "out.mp4", Echo(), given(*gaps), options)
    assert made.states[:3] == ("generated", "interpolated", "generated")
    assert made.boxes[1].tolist() == [32, 20, 92, 80]


def test_a_detector_that_skips_frames_has_its_boxes_filled_in(clip: Path, speech: Path, tmp_path: Path) -> None:
    detector = Boxes([FACE] * 20)
    detector.stride = 5
    made = flow.generate(clip, speech, tmp_path / "out.mp4", Echo(), lambda _: detector, Options(codec="h264"))
    assert made.states == ("generated",) * 17


def test_boxes_and_frames_after_framing(clip: Path, speech: Path, tmp_path: Path) -> None:
    options = Options(framing=Framing(2, True, Crop(4, -1, 0, 40)), codec="lossless")
    made = flow.generate(clip, speech, tmp_path / "out.mp4", Echo(), given(*[(5, 6, 30, 40)] * 20), options)
    assert made.size == (40, 60) and made.boxes[0].tolist() == [5, 6, 30, 50]


def test_the_factor_that_brings_a_face_nearest(tmp_path: Path, speech: Path) -> None:
    clip = lossless(tmp_path / "large.mkv", pictures(20, (400, 400)))
    options = Options(face_px=50, least_side=100, codec="h264")
    made = flow.generate(clip, speech, tmp_path / "out.mp4", Echo(), given(*[(10, 10, 170, 170)] * 20), options)
    assert made.framing.resize_factor == 4  # a fifth would be below 100; the original does not stop at the nearest
    least = Options(face_px=50, least_side=150, codec="h264")
    made = flow.generate(clip, speech, tmp_path / "out.mp4", Echo(), given(*[(10, 10, 170, 170)] * 20), least)
    assert made.framing.resize_factor == 2  # 400 / 3 is below 150


def test_what_a_picture_does_not_take_is_refused(clip: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    reason, message = reason_of(clip, speech, out, Echo(), never, Options(box=Box(20, 97, 30, 90)))
    assert reason == "bad_box" and "128x96" in message
    for fps, target, words in (
        (30, out, "fps = 30: only for a still image"),
        (None, tmp_path / "out.gif", "out.gif: end it in one of .mp4"),
        (None, clip, "is one of the inputs"),
    ):
        with pytest.raises(UsageError, match=words):
            flow.generate(clip, speech, target, Echo(), never, Options(box=BOX, fps=fps))
    wrong: list[dict[str, Any]] = [{"missing": "drop"}, {"codec": "gif"}, {"same_person": "dna"}, {"shorter": "cut"}]
    for values in wrong:
        with pytest.raises(UsageError, match="no such choice"):
            Options(**values)
    with pytest.raises(UsageError, match="pads = -1 0 0 0"):
        Options(pads=Pads(-1, 0, 0, 0))
    with pytest.raises(UsageError, match="box = 50 20 0 10"):
        Options(box=Box(50, 20, 0, 10))
    reason, message = reason_of(clip, sound(tmp_path / "short.wav", 0.1), out, Echo(), never, KNOWN)
    assert reason == "audio_too_short" and "short.wav" in message
    with pytest.raises(MediaError, match=r"nowhere\.wav: cannot be read"):
        flow.generate(clip, tmp_path / "nowhere.wav", out, Echo(), never, KNOWN)


@pytest.mark.parametrize("codec", ["original", "h264", "lossless"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_every_codec_in_every_container(clip: Path, speech: Path, tmp_path: Path, codec: str, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    tags = {"comment": "Generated video: a test"}
    flow.generate(clip, speech, out, Echo(), never, Options(box=BOX, codec=codec), tags=tags)
    with av.open(str(out)) as container:
        kinds = {stream.type: stream.codec_context.name for stream in container.streams}
        said = {key.lower(): value for key, value in container.metadata.items()}
    assert kinds == {"video": "h264", "audio": "alac" if codec == "lossless" else "aac"} or suffix == ".mkv"
    assert said["comment"] == "Generated video: a test"
    frames = list(frames_at(out, None))
    assert len(frames) == 17
    far = [np.abs(frames[5].astype(int) - picture)[:20].mean() for picture in pictures(10)]
    assert np.argmin(far) == 5 and far[5] < (1e-9 if codec == "lossless" else 6)


def test_odd_sizes(tmp_path: Path, speech: Path) -> None:
    clip = lossless(tmp_path / "odd.mkv", pictures(20, (127, 95)))
    sizes = {}
    for codec in ("original", "h264", "lossless"):
        flow.generate(clip, speech, tmp_path / f"{codec}.mp4", Echo(), never, Options(box=BOX, codec=codec))
        sizes[codec] = next(frames_at(tmp_path / f"{codec}.mp4", None)).shape[:2]
    assert sizes == {"original": (94, 126), "h264": (95, 127), "lossless": (95, 127)}


def test_a_failure_leaves_no_file(clip: Path, speech: Path, tmp_path: Path) -> None:
    class Broken(Echo):
        def __call__(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
            self.batch_size += 1
            if self.batch_size > 6:
                raise RuntimeError("broken")
            return faces[:, 3:]

    folder = tmp_path / "new"
    with pytest.raises(RuntimeError, match="broken"):
        flow.generate(clip, speech, folder / "out.mp4", Broken(), never, Options(box=BOX, codec="h264"))
    assert list(folder.iterdir()) == []


def test_a_few_batches_of_frames_are_held(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that are decoded and not written yet, over a video that starts again and again."""
    speech = sound(tmp_path / "long.wav", 12)
    decoded, written, most = itertools.count(), 0, 0
    seen = 0
    whole = flow._Job.frames

    def counted(job: flow._Job) -> Iterator[Frame]:
        nonlocal seen
        for frame in whole(job):
            seen = next(decoded)
            yield frame

    @contextmanager
    def sink(*args: object) -> Iterator[Callable[[Frame], None]]:
        def write(frame: Frame) -> None:
            nonlocal written, most
            written += 1
            most = max(most, seen - written)

        yield write

    monkeypatch.setattr(flow._Job, "frames", counted)
    monkeypatch.setattr(flow, "output", sink)
    made = flow.generate(clip, speech, tmp_path / "out.mp4", Echo(4), never, KNOWN)
    assert len(made.states) == written > 250
    assert most <= 4 * (min(available_cores(), 8) + 3)


def test_progress_and_order_of_stages(clip: Path, speech: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    options = Options(missing="keep", codec="h264")
    flow.generate(
        clip, speech, tmp_path / "out.mp4", Echo(), given(*[FACE] * 20), options, progress=lambda *a: told.append(a)
    )
    assert [stage for stage, _ in itertools.groupby(told, key=lambda t: t[0])] == ["faces", "persons", "frames"]
    assert told[-1] == ("frames", 17, 17)

"""Turn a video or a still image and a sound into a video whose lips follow the sound.

Two passes read the picture: the first finds the boxes, because smoothing needs later frames; the second runs the
network. With --missing keep, a pass between them tells persons apart. Only a few batches of frames are in memory at any
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice, repeat
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lipscore.faces.scan import scan
from lipscore.generate.wav2lip.errors import NotGeneratedError
from lipscore.generate.wav2lip.faces import boxes as placing
from lipscore.generate.wav2lip.faces import paste
from lipscore.generate.wav2lip.faces.boxes import Ints, Pads, Placement
from lipscore.generate.wav2lip.faces.person import recognise
from lipscore.generate.wav2lip.faces.picture import Framing, Picture, open_picture, spaced
from lipscore.generate.wav2lip.generator import Generator, Patient
from lipscore.generate.wav2lip.mel import Mel, chunk_starts
from lipscore.generate.wav2lip.options import Box, Options
from lipscore.generate.wav2lip.sound import SAMPLE_RATE, load_sound
from lipscore.generate.wav2lip.write import check_target, output
from lipscore.media.decode.passes import FrameSource
from lipscore.media.files.scratch import scratch
from lipscore.pool import Pool
from lipscore.syncnet.shots import find_shots
from lipscore.types import Detection, Detector, Frame, Shot

CUT = 27.0  # scenedetect's default; only for detectors that look at some frames
NAMED = 8  # passages that a message lists
Progress = Callable[[str, int, int], None]  # (stage, how many, of how many)


@dataclass(frozen=True, slots=True)
class Generated:
    """The facts about a generated video.

    fps: the output's frame rate. size: width, height of its frames. states: the state of each written frame, see
    `boxes.Placement`. boxes: int64[T, 4], x1 y1 x2 y2 of each written frame. picture_frames: the number of the
    picture's frames that were used. framing: how these were resized, rotated and cropped. seconds: the length of the
    sound. resampled: whether the sound was resampled to 16 kHz.
    """

    fps: float
    size: tuple[int, int]
    states: tuple[placing.State, ...]
    boxes: Ints
    picture_frames: int
    framing: Framing
    seconds: float
    rate: int
    channels: int
    still: bool

    def count(self, state: placing.State) -> int:
        """The number of written frames in that state."""
        return self.states.count(state)


class Window(NamedTuple):
    """One frame of the output: the picture's frame, the patch's box (or None), and its first mel column."""

    frame: Frame
    box: Ints | None
    start: int


def generate(
    face: Path,
    audio: Path,
    target: Path,
    generator: Generator,
    detector_for: Callable[[Path], Detector],
    options: Options | None = None,
    *,
    tags: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> Generated:
    """Make the lips of `face` follow `audio`, and write the result.

    Args:
        face: a video, or a still image.
        audio: a sound file, or a video with sound.
        target: the file to write, .mp4, .m4v, .mov or .mkv.
        generator: the loaded network.
        detector_for: returns the face detector for `face`; not called if options.box is set.
        options: default: inference.py's.
        tags: metadata for the container (`write.metadata`).
        progress: called with each stage ("faces", "persons", "frames") and its progress.

    Raises:
        UsageError: an option does not fit this picture.
        MediaError: a file cannot be read or written.
        NotGeneratedError: the input has no face, too short a sound and so on; its `reason` says which.
        MissingError: the target's folder cannot be written.
    """
    options = options or Options()
    check_target(target, options.codec, (face, audio))
    picture = open_picture(face, options.fps)
    fps = picture.fps if options.fixed_fps is None else Fraction(options.fixed_fps)
    with scratch() as folder:
        sound = load_sound(audio, folder)
        try:
            mel = Mel(sound.samples)
        except NotGeneratedError as error:
            raise NotGeneratedError(error.reason, f"{audio}: {error}") from error
        starts = chunk_starts(mel.columns, float(fps), options.last_chunk)
        limit = 1 if options.static or picture.still else len(starts)
        job = _Job(picture, options, options.framing, limit, progress or _silent)
        job, placement = _placed(job, detector_for, generator.pool)
        order = _order(job, len(placement.states), len(starts))
        windows = (
            Window(frame, placement.box_of(number), start)
            for (number, frame), start in zip(_in_order(job, order), starts, strict=True)
        )
        batches = _batches(windows, generator.batch_size)
        done = generator.in_order(lambda batch: _answered(batch, mel, generator), batches)
        written = chain.from_iterable(done)
        first = next(written)
        size = (first.shape[1], first.shape[0])
        with output(target, options.codec, size, fps, sound.wav, tags or {}) as write:
            for number, frame in enumerate(chain([first], written), start=1):
                write(frame)
                job.tell("frames", number, len(starts))
        return Generated(
            fps=float(fps),
            size=size,
            states=tuple(placement.states[number] for number in order),
            boxes=placement.boxes[order],
            picture_frames=len(placement.states),
            framing=job.framing,
            seconds=len(sound.samples) / SAMPLE_RATE,
            rate=sound.rate,
            channels=sound.channels,
            still=picture.still,
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """The values that the passes share; limit: the largest number of the picture's frames that are used."""

    picture: Picture
    options: Options
    framing: Framing
    limit: int
    tell: Progress

    def frames(self) -> Iterator[Frame]:
        """The picture's frames from the first on, resized, rotated and cropped."""
        return map(self.framing, self.picture.raw(self.limit))

    def told(self, stage: str, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames unchanged; each one is reported as progress."""
        for number, frame in enumerate(frames, start=1):
            yield frame
            self.tell(stage, number, self.limit)


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _placed(job: _Job, detector_for: Callable[[Path], Detector], pool: Pool) -> tuple[_Job, Placement]:
    """The place of the patch in each of the picture's frames, and the job, whose frames may become smaller."""
    options = job.options
    first = next(job.frames())
    if options.box is not None:
        return job, _constant(job, options.box, first)
    detector = Patient(detector_for(job.picture.path))
    if options.face_px is not None:
        job = replace(job, framing=replace(job.framing, resize_factor=_factor(job, detector, first)))
        first = next(job.frames())
    height, width = first.shape[:2]
    found = _faces(job, detector, pool)
    fits = [[(face, placing.padded(face, options.pads, width, height)) for face in faces] for faces in found]
    kept = [[(face, box) for face, box in faces if box is not None] for faces in fits]
    boxes = [faces[0][1] if faces else None for faces in kept]
    missing = [frame for frame, box in enumerate(boxes) if box is None]
    if len(missing) == len(boxes):
        raise NotGeneratedError(
            "no_face",
            f"{job.picture.path}: {detector.name} finds no face in any of {len(boxes)} frames; see --detector",
        )
    if options.missing == "error" and missing:
        raise NotGeneratedError(
            "no_face",
            f"{job.picture.path}: {detector.name} finds no face in {len(missing)} of {len(boxes)} frames "
            f"({_passages(missing)}); leave them as they are with --missing keep, or put a box between their "
            "neighbours' with --missing interpolate",
        )
    if options.missing != "keep":
        return job, placing.place_all(boxes, options.smooth)
    candidates = [[box for _, box in faces] for faces in kept]
    measure = options.same_person
    if measure == "fork" and not kept[0]:
        raise NotGeneratedError("no_face", f"{job.picture.path}: frame 0 has no face, which --same-person fork needs")
    boxes, same = recognise(job.told("persons", job.frames()), candidates, measure)
    if measure == "fork":
        raw = placing.padded(kept[0][0][0], Pads(0, 0, 0, 0), width, height)
        assert raw is not None
        return job, placing.place_fork(boxes, raw, same, options.smooth)
    return job, placing.place_kept(boxes, same, options.smooth)


def _constant(job: _Job, box: Box, first: Frame) -> Placement:
    height, width = first.shape[:2]
    if box.bottom > height or box.right > width:
        raise NotGeneratedError(
            "bad_box",
            f"{job.picture.path}: --box {spaced(box)} reaches beyond its frames of {width}x{height} px "
            "(after --resize-factor, --rotate and --crop)",
        )
    count = sum(1 for _ in job.picture.raw(job.limit))
    corners = np.array([box.left, box.top, box.right, box.bottom], np.int64)
    every: placing.State = "generated"
    return Placement(np.tile(corners, (count, 1)), tuple(repeat(every, count)))


def _factor(job: _Job, detector: Detector, first: Frame) -> int:
    """real_videos_inference.py's rescale_frames: the whole factor that shrinks the face to about face_px."""
    faces = detector([first], [0])[0]
    box = placing.padded(faces[0], Pads(0, 0, 0, 0), first.shape[1], first.shape[0]) if faces else None
    wanted, least = job.options.face_px, job.options.least_side
    assert wanted is not None
    if box is None:
        raise NotGeneratedError("no_face", f"{job.picture.path}: {detector.name} finds no face in frame 0")
    face = int(max(box[3] - box[1], box[2] - box[0]))
    factor = 1
    for tried in range(2, 16):
        # the original compares with the face's own distance, not with the last factor's
        if min(first.shape[:2]) // tried < least or abs(face // tried - wanted) >= abs(face - wanted):
            break
        factor = tried
    return factor


def _faces(job: _Job, detector: Detector, pool: Pool) -> Sequence[Sequence[Detection]]:
    """The faces of each frame, the best first."""
    shots = [Shot(0, job.limit)]
    if job.limit > 1 and (detector.stride > 1 or detector.bridge):
        shots = find_shots(job.frames(), CUT)  # nothing is interpolated across a cut, nor beyond the end
    source = FrameSource(lambda: job.told("faces", job.picture.raw(job.limit)), job.framing)
    with detector.turn:
        return scan(source, shots, detector, pool).boxes


def _order(job: _Job, have: int, wanted: int) -> list[int]:
    """The number of the picture's frame that each output frame shows."""
    if job.limit == 1:
        return [0] * wanted
    if have < wanted and job.options.shorter == "refuse":
        raise NotGeneratedError(
            "too_few_frames",
            f"{job.picture.path}: {have} frames, and the sound lasts for {wanted}; give a longer video",
        )
    if have < wanted and job.options.shorter == "stretch":
        return stretched(have, wanted)
    return [number % have for number in range(wanted)]


def stretched(have: int, wanted: int) -> list[int]:
    """real_videos_inference.py's increase_frames: frames repeated evenly until there are `wanted`."""
    order = list(range(have))
    while len(order) < wanted:
        every, due = wanted / len(order), 0.0
        longer: list[int] = []
        for place, frame in enumerate(order):
            longer += [frame, frame] if ceil(due) == place else [frame]
            due += every
        order = longer
    return order[:wanted]


def _in_order(job: _Job, order: Sequence[int]) -> Iterator[tuple[int, Frame]]:
    """The frames with these numbers; if a number is smaller than the last, the picture is read again from its start."""
    stream: Iterator[tuple[int, Frame]] = iter(())
    at, frame = -1, None
    for wanted in order:
        if frame is None or wanted < at:
            stream, at = enumerate(job.frames()), -1
        while at < wanted:
            at, frame = next(stream)
        assert frame is not None
        yield at, frame


def _batches(windows: Iterator[Window], size: int) -> Iterator[list[Window]]:
    while batch := list(islice(windows, size)):
        yield batch


def _answered(batch: Sequence[Window], mel: Mel, generator: Generator) -> list[Frame]:
    """The output frames for these windows."""
    asked = [(window.frame, window.box, window.start) for window in batch if window.box is not None]
    if not asked:
        return [window.frame for window in batch]
    faces = paste.network_input([paste.face_of(frame, box) for frame, box, _ in asked])
    patches = iter(generator(mel.windows([start for *_, start in asked]), faces))
    return [
        window.frame if window.box is None else paste.pasted(window.frame, window.box, next(patches))
        for window in batch
    ]


def _passages(frames: Sequence[int]) -> str:
    """Frame numbers as "frames 3-9, 20"."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:NAMED]]
    more = f" and {len(runs) - NAMED} passages more" if len(runs) > NAMED else ""
    return f"frames {', '.join(words)}{more}"

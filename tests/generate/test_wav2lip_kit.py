"""Wav2Lip's generation beside the original's own output: the kit's five cases, and a video that is scored at once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.io import wavfile
from typer.testing import CliRunner

from lipscore.eval.cli.main import app
from lipscore.eval.store.records import read_records
from lipscore.generate.wav2lip import checkpoint, flow
from lipscore.generate.wav2lip.faces.boxes import Pads
from lipscore.generate.wav2lip.faces.picture import Crop, Framing
from lipscore.generate.wav2lip.generator import Generator
from lipscore.generate.wav2lip.options import Box, Options
from lipscore.media.encode import frame_sink
from lipscore.media.read import frames_at
from lipscore.pool import Pool
from lipscore.types import Detection, Frame

PHONE, DOCTOR = "real/phone_1080p_25fps.mp4", "talking/1p_closeup_facingcamera/10_woman_doctor.mp4"
HALF = Framing(2)
CASES = {
    "phone": (PHONE, "phone_16k", Options(framing=HALF)),
    "doctor": (DOCTOR, "doctor_44k", Options(pads=Pads(8, 20, 4, 4))),
    "nosmooth": (DOCTOR, "doctor_44k", Options(smooth=False)),
    "loop": (DOCTOR, "phone_16k", Options(framing=Framing(crop=Crop(0, 500, 100, -1)), box=Box(40, 360, 150, 420))),
    "fork": (PHONE, "phone_16k", Options(framing=HALF, pads=Pads(0, 0, 0, 0), missing="keep", same_person="fork")),
}
# (cell means, box means, mean absolute change): the two clips that every OpenCV decodes alike, and the two of HEVC
EXACT, LOOSE = (2, 0.05, 0.05), (24, 4, 2)


class Injected:
    """The detector of the kit: what it answered then; in case `doctor` it ran out of memory above five frames."""

    name, stride, bridge, doubtful, batch_size, turn = "kit", 1, 0, (0.0, 0.0), 16, nullcontext()

    def __init__(self, boxes: Sequence[Sequence[int] | None], most: int = 16) -> None:
        self.boxes, self.most = boxes, most
        self.batches: list[int] = []

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        count = len(list(frames))
        self.batches.append(count)
        if count > self.most:
            raise RuntimeError("CUDA out of memory")
        boxes = [self.boxes[index] for index in indices]
        return [[Detection(k, np.array(b, np.float32), 1.0)] if b else [] for k, b in zip(indices, boxes, strict=True)]


@pytest.fixture(scope="module")
def golden_cases(wav2lip_kit: Path) -> dict[str, Any]:
    cases: dict[str, Any] = json.loads((wav2lip_kit / "golden.json").read_text())["cases"]
    return cases


@pytest.fixture(scope="module")
def kit_generator(wav2lip_weights: Path) -> Generator:
    return Generator(checkpoint.load(wav2lip_weights / "wav2lip.pth"))


class Echo(Generator):
    """In the network's place: gives the face that it got."""

    def __init__(self) -> None:
        self.device, self.batch_size, self.pool = torch.device("cpu"), 16, Pool()

    def __call__(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        return faces[:, 3:]


def run(
    name: str, shared: Path, tmp_path: Path, generator: Generator, golden: dict[str, Any], monkeypatch: Any
) -> tuple[flow.Generated, list[Frame], list[Frame], Injected]:
    """A case of the kit: what was made, the frames before encoding, those of the input, and the detector."""
    clip, wav, options = CASES[name]
    face = shared / "clips" / clip
    if name == "loop":  # the first 20 frames
        frames = list(itertools.islice(frames_at(face, None), 20))
        face = tmp_path / "loop.mkv"
        size = (frames[0].shape[1], frames[0].shape[0])
        with frame_sink(face, size, Fraction(24), [], ["-c:v", "ffv1", "-pix_fmt", "bgr0"]) as write:
            for frame in frames:
                write(frame)
    written: list[Frame] = []

    @contextmanager
    def kept(target: Path, codec: str, size: tuple[int, int], *rest: object) -> Iterator[Callable[[Frame], None]]:
        yield written.append

    monkeypatch.setattr(flow, "output", kept)
    boxes = json.loads((shared / "wav2lip" / "boxes.json").read_text()).get(golden["boxes"])
    detector = Injected(boxes, 5 if name == "doctor" else 16)
    audio = shared / "wav2lip" / f"{wav}.wav"
    made = flow.generate(face, audio, tmp_path / "out.mp4", generator, lambda _: detector, options)
    before = [made.framing(frame) for frame in itertools.islice(frames_at(face, None), made.picture_frames)]
    return made, written, before, detector


@pytest.mark.parametrize("name", CASES)
def test_boxes_frames_and_flags_are_the_originals(
    name: str, shared: Path, tmp_path: Path, golden_cases: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = golden_cases[name]
    made, written, before, detector = run(name, shared, tmp_path, Echo(), golden, monkeypatch)
    assert made.boxes[:, [1, 3, 0, 2]].tolist() == golden["coords_y1_y2_x1_x2"]
    assert len(written) == golden["frames_written"] and made.picture_frames == golden["frames_used"]
    assert [*made.size] == golden["writer"]["size_wh"] and made.fps == golden["writer"]["fps"]
    if "ok" in golden:
        assert [state == "generated" for state in made.states] == golden["ok"]
    if name == "doctor":
        assert sum(size for size in detector.batches if size <= 5) == 33 and max(detector.batches) == 16
    # section 11: the face itself in place of the network's answer
    for number, frame in enumerate(written):
        x1, y1, x2, y2 = made.boxes[number]
        change = np.abs(frame.astype(int) - before[number % len(before)])
        assert change[y1:y2, x1:x2].mean() < (3 if name in ("doctor", "nosmooth", "loop") else 4)
        change[y1:y2, x1:x2] = 0
        assert not change.any()


@pytest.mark.parametrize("name", ["doctor", *(pytest.param(n, marks=pytest.mark.slow) for n in CASES if n != "doctor")])
def test_frames_before_encoding_are_the_originals(
    name: str,
    shared: Path,
    tmp_path: Path,
    golden_cases: dict[str, Any],
    kit_generator: Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    golden, cells = golden_cases[name], np.load(shared / "wav2lip" / "golden.npz")[f"{name}_cells"]
    _, written, before, _ = run(name, shared, tmp_path, kit_generator, golden, monkeypatch)
    cell, mean, change = LOOSE if name in ("phone", "fork") else EXACT
    for number, frame in enumerate(written):
        y1, y2, x1, x2 = golden["coords_y1_y2_x1_x2"][number]
        source = before[number % len(before)]
        box = frame[y1:y2, x1:x2]
        found = cv2.resize(box, (8, 8), interpolation=cv2.INTER_AREA).astype(int)
        assert np.abs(found - cells[number]).max() <= cell
        assert np.abs(box.reshape(-1, 3).mean(axis=0) - golden["mean_bgr_in_box"][number]).max() <= mean
        changed = np.abs(frame.astype(int) - source)
        assert changed[y1:y2, x1:x2].mean() == pytest.approx(golden["mean_abs_change_in_box"][number], abs=change)
        changed[y1:y2, x1:x2] = 0
        assert not changed.any()
    if name == "doctor":
        where = golden["pngs"]["doctor_10.png"]
        (top, bottom), (left, right) = where["rows"], where["columns"]
        picture = np.asarray(cv2.imread(str(shared / "wav2lip" / "doctor_10.png"))).astype(int)
        np.testing.assert_array_equal(picture[:, : right - left], before[10][top:bottom, left:right])
        near = np.abs(picture[:, right - left :] - written[10][top:bottom, left:right]) <= 2
        assert near.mean() >= 0.999


def given_boxes(folder: Path, stem: str, boxes: Sequence[Sequence[int] | None]) -> Path:
    """A folder of --detections with this one video."""
    folder.mkdir(exist_ok=True)
    rows = [[[*box, 1.0]] if box else [] for box in boxes]
    (folder / f"{stem}.json").write_text(json.dumps(rows))
    return folder


@pytest.mark.slow
def test_the_muxed_file_shows_the_frames(shared: Path, tmp_path: Path, wav2lip_weights: Path) -> None:
    boxes = json.loads((shared / "wav2lip" / "boxes.json").read_text())["doctor"]
    given = given_boxes(tmp_path / "boxes", Path(DOCTOR).stem, boxes)
    made = {}
    for codec in ("lossless", "original"):
        out = tmp_path / f"{codec}.mp4"
        arguments = ["generate", "--face", shared / "clips" / DOCTOR, "--audio", shared / "wav2lip" / "doctor_44k.wav"]
        arguments += ["--checkpoint", wav2lip_weights / "Wav2Lip-SD-NOGAN.pt", "--pads", 8, 20, 4, 4]
        arguments += ["--detector", "given", "--detections", given, "--codec", codec, "--out", out, "--device", "cpu"]
        result = CliRunner().invoke(app, [str(word) for word in arguments])
        assert result.exit_code == 0, result.output
        made[codec] = list(frames_at(out, None))
    assert abs(len(made["original"]) - 33) <= 1 and len(made["lossless"]) == 33
    coords = json.loads((shared / "wav2lip" / "golden.json").read_text())["cases"]["doctor"]["coords_y1_y2_x1_x2"]
    for exact, muxed, (y1, y2, x1, x2) in zip(made["lossless"], made["original"], coords, strict=False):
        # luma: colours at half the resolution alone leave 25 dB of these patches in RGB
        grey = [cv2.cvtColor(frame[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY).astype(float) for frame in (exact, muxed)]
        assert 10 * np.log10(255**2 / ((grey[0] - grey[1]) ** 2).mean()) > 30


@pytest.mark.slow
def test_a_video_is_generated_and_scored_a_row_per_passage(
    shared: Path, tmp_path: Path, wav2lip_weights: Path, kit_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The face is away twice, for longer than the tracker waits: three tracks of what was generated."""
    monkeypatch.chdir(tmp_path)
    face = shared / "clips" / DOCTOR
    box, gap = [248, 20, 506, 353], 30
    away = [*range(33, 33 + gap), *range(90, 90 + gap)]
    source = [None if frame in away else box for frame in range(200)]
    rate, speech = wavfile.read(shared / "wav2lip" / "phone_16k.wav")
    wavfile.write("speech.wav", rate, np.concatenate([speech] * 3)[: round(6.6 * rate)])
    given = given_boxes(tmp_path / "boxes", face.stem, source)
    wanted = [source[round(k * 24 / 25) % 128] for k in range(170)]  # 128 frames, again and again, at 25 fps
    given_boxes(tmp_path / "scored", "out", wanted)
    Path("short.toml").write_text('inherit = "wav2lip"\nmin_track = 20\n')
    arguments = ["generate", "--face", face, "--audio", "speech.wav", "--out", "out.mp4", "--missing", "keep"]
    arguments += ["--checkpoint", wav2lip_weights / "wav2lip_gan.pth", "--detector", "given", "--detections", given]
    arguments += ["--score", "--protocol", "short.toml", "--score-model", "vgg", "--weights-dir", kit_weights]
    arguments += ["--allow-unverified", "--score-detections", "scored", "--results", "results", "--device", "cpu"]
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    record = json.loads(Path("out.mp4.json").read_text())
    assert record["frames"]["kept"] == record["frames"]["no_face"] == 60
    assert record["states"]["no_face"] == [[33, 62], [90, 119]]
    held, problems = read_records(Path("results/scores.jsonl"))
    assert not problems and [one.score.name for one in held] == ["out"]
    score = held[0].score
    assert (score.status, len(score.tracks), score.model, score.comparable) == ("ok", 3, "vgg", False)
    rows = [line for line in Path("results/all_scores.txt").read_text().splitlines() if not line.startswith("#")]
    assert [row.split("# ")[1].split()[:2] for row in rows] == [["out", f"track={k}"] for k in range(3)]
    for row, track in zip(rows, score.tracks, strict=True):
        assert [float(word) for word in row.split()[:2]] == pytest.approx([track.lse_d, track.lse_c], abs=1e-4)
    again = CliRunner().invoke(app, [str(word) for word in arguments])
    assert again.exit_code == 0 and "made before" in again.stdout
    assert len(Path("results/scores.jsonl").read_text().splitlines()) == 1

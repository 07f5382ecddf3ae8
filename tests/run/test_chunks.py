"""`lipscore score --chunk`: pieces cut exactly at frames, a row for each, and the drift of the offset."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lipscore.errors import UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.options import InputOptions, ModelOptions, RunOptions
from lipscore.eval.report.drift import drifts, sentence
from lipscore.eval.run.batch import find_jobs
from lipscore.eval.run.jobs import Job, Piece
from lipscore.eval.run.pieces import plan, score_piece, split
from lipscore.eval.setup import Setup, load_models
from lipscore.eval.trace import Trace
from lipscore.media import edit, read, write
from lipscore.syncnet.protocols import PROTOCOLS, change
from lipscore.types import GivenSound, MediaInfo, TrackScore, VideoScore

WAV2LIP = PROTOCOLS["wav2lip"]
RATES = [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60)]


@pytest.fixture(scope="module")
def clip(shared: Path) -> Path:
    return shared / "clips/talking/1p_closeup_facingcamera/10_woman_doctor.mp4"


def info(n_frames: int, fps: Fraction) -> MediaInfo:
    return MediaInfo(Path("v.mp4"), fps, n_frames, 64, 64, 48000, float(n_frames / fps))


@given(st.integers(1, 40000), st.sampled_from(RATES), st.floats(5, 90), st.floats(0, 20))
def test_pieces_cover_the_video_at_frames(n_frames: int, fps: Fraction, chunk: float, overlap: float) -> None:
    assume(overlap < chunk - 1)
    pieces = plan(info(n_frames, fps), chunk, overlap, WAV2LIP)
    if not pieces:
        assert n_frames / fps < chunk + (WAV2LIP.min_track + 4) / 25 + 1
        return
    bounds = [(piece.start * fps, (piece.start + piece.seconds) * fps) for piece in pieces]
    assert all(start.denominator == end.denominator == 1 for start, end in bounds)
    assert bounds[0][0] == 0 and bounds[-1][1] == n_frames
    size = round(chunk * fps)
    assert all(end - start == size for start, end in bounds[:-1])
    assert bounds[-1][1] - bounds[-1][0] > WAV2LIP.min_track * fps / 25
    for (_, end), (start, _) in pairwise(bounds):
        assert end - start == size - round((chunk - overlap) * fps)


def test_a_chunk_too_short_for_a_track_or_its_overlap() -> None:
    for chunk, overlap in ((4.0, 0.0), (30.0, 30.0), (30.0, -1.0)):
        with pytest.raises(UsageError):
            plan(info(9000, Fraction(25)), chunk, overlap, WAV2LIP)


def test_pieces_hold_every_frame_and_sample_once(clip: Path, tmp_path: Path) -> None:
    source = read.probe(clip)
    frames: list[np.ndarray] = []
    sound: list[np.ndarray] = []
    for start, end in ((0, 31), (31, 80), (80, 128)):
        piece = tmp_path / "piece.mkv"
        edit.cut(source, piece, start / source.fps, (end - start) / source.fps)
        got = list(read.frames_at(piece, None))
        assert len(got) == end - start
        frames += got
        sound.append(read.pcm_pipe(piece, ["-ac", "1", "-ar", "44100"]))
    for number, frame in enumerate(read.frames_at(clip, None)):
        assert np.array_equal(frame, frames[number])
    whole = read.pcm_pipe(clip, ["-ac", "1", "-ar", "44100"])
    together = np.concatenate(sound)
    shorter = min(len(whole), len(together))
    assert shorter > len(whole) - 1024
    differ = np.flatnonzero(np.abs(whole[:shorter].astype(int) - together[:shorter]) > 1)
    assert len(differ) <= 2  # a piece whose length is no whole number of samples


def test_numbers_of_a_piece_count_from_the_videos_start(shared: Path, clip: Path) -> None:
    models = load_models("mini", detections=shared / "conformance/detections/avi", device="cpu")
    source = read.probe(clip)
    piece = Piece(source, Fraction(2), Fraction(3))
    keeper = Trace()
    setup = Setup(change(WAV2LIP, {"min_track": 50}), models)
    record = score_piece(Job(clip, "talk"), piece, setup, "0" * 64, trace=keeper)
    (track,) = record.tracks
    assert (track.first_frame, record.shots[0].start, record.piece) == (50, 50, (2.0, 5.0))
    assert 50 + 74 <= track.last_frame <= 50 + 76
    assert record.sha256 == "0" * 64
    boxes = json.loads((shared / "conformance/detections/avi" / f"{clip.stem}.json").read_text())
    kept = keeper.tracks[0].track
    assert kept is not None
    assert np.allclose(kept.boxes_xyxy[0], boxes[50][0][:4], atol=1e-3)


@pytest.fixture(scope="module")
def drifting(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip three times in a row, its audio 0, 2 and 4 frames early."""
    frames = [np.asarray(cv2.resize(frame, (586, 316)), np.uint8) for frame in read.frames_at(clip, None)]
    length = 16000 * 128 // 24
    pcm = read.read_pcm(clip)
    pcm = np.pad(pcm, (0, length + 4 * 640))[: length + 4 * 640]
    sound = np.concatenate([pcm[early * 640 : early * 640 + length] for early in (0, 2, 4)])
    target = tmp_path_factory.mktemp("long") / "dr[i]ft 'x'.mp4"
    write.write_video(target, (frame for _ in range(3) for frame in frames), 24, sound)
    return target


def test_a_row_a_piece_and_the_drift(drifting: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "out", tmp_path / "all_scores.txt"
    where = ["--out", str(out), "--scores-file", str(rows), "--protocol", "lipscore-1"]  # no codec in between
    run = CliRunner()
    result = run.invoke(app, ["score", str(drifting), "--model", "mini", "--chunk", "5.3333", *where])
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    found = sorted(records, key=lambda record: record["piece"])  # each is written when it is done
    assert [record["piece"] for record in found] == [[0.0, 5.3333], [5.3333, 10.6667], [10.6667, 16.0]]
    first, second, third = (record["offset"] for record in found)
    assert (second - first, third - second) == (2, 2)
    assert found[1]["tracks"][0]["first_frame"] == 133
    lines = rows.read_text().splitlines()
    assert len(lines) == len((out / "scores.csv").read_text().splitlines()) - 1 == 3
    assert sum("@5.33-10.67" in line for line in lines) == 1
    assert "drifts by +22.50 frames a minute" in result.stdout
    assert [path.name for path in out.glob("drift-*.png")] == ["drift-dr_i_ft_x_.png"]
    again = run.invoke(app, ["score", str(drifting), "--model", "mini", "--chunk", "5.3333", *where])
    assert again.stderr.count("scored before") == 3
    assert len((out / "scores.jsonl").read_text().splitlines()) == 3


def piece_of(start: float, offset: int | None, lse_c: float | None) -> VideoScore:
    status = "ok" if offset is not None else "no_face"
    blank = VideoScore("v.mp4", "v", "", status, "", "wav2lip", "vgg", True)  # type: ignore[arg-type]
    return replace(blank, piece=(start, start + 30), offset=offset, lse_c=lse_c)


def test_drift_leaves_out_what_cannot_be_trusted() -> None:
    steady = [piece_of(30 * k, 1, 6.0) for k in range(8)]
    noise = [piece_of(240, -14, 0.4), piece_of(270, None, None)]
    (drift,) = drifts([*steady, *noise])
    assert (drift.per_minute, drift.offsets) == (0.0, (1,) * 8)
    assert "no steady drift" in sentence(drift)
    rising = [piece_of(60 * k, k // 2, 6.0) for k in range(20)]
    rising[7] = piece_of(420, -15, 3.0)
    (drift,) = drifts(rising)
    assert drift.per_minute == pytest.approx(0.5, abs=0.05)
    assert "too few" in sentence(drifts(steady[:2])[0])
    assert drifts([replace(steady[0], piece=None)]) == []
    frozen = TrackScore(0, 0, 99, 9, 7.0, 6.0, 95, (), None, 0.01)  # of a still picture
    assert drifts([*steady, replace(piece_of(240, 9, 6.0), tracks=(frozen,))])[0].offsets == (1,) * 8
    heard = [replace(score, audio=GivenSound("b.wav", "00")) for score in rising]
    assert [found.per_minute for found in drifts([*steady, *heard])] == [0.0, drift.per_minute]  # of each sound


def test_short_and_unreadable_videos_stay_whole(clip: Path, tmp_path: Path) -> None:
    job = Job(clip, "talk")
    assert split(job, 30, 5, WAV2LIP) == [job]
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    job = Job(broken, "broken")
    assert split(job, 30, 5, WAV2LIP) == [job]
    silent = tmp_path / "silent.mp4"
    write.write_video(silent, [np.zeros((64, 64, 3), np.uint8)] * 400, 25)
    job = Job(silent, "silent")
    assert split(job, 5, 0, WAV2LIP) == [job]


def test_references_do_not_go_with_pieces(drifting: Path, tmp_path: Path) -> None:
    files = ["--out", str(tmp_path / "out"), "--scores-file", str(tmp_path / "all_scores.txt")]
    options = ["--model", "mini", "--chunk", "6", "--reference", str(drifting.parent)]
    result = CliRunner().invoke(app, ["score", str(drifting), *options, *files])
    assert (result.exit_code, "--chunk: takes no references" in result.stderr) == (2, True)


def test_a_reference_folder_beside_a_long_video_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "in" / "reference").mkdir(parents=True)
    for path in (tmp_path / "in" / "a.mp4", tmp_path / "in" / "reference" / "a.mp4"):
        path.write_text("no video")
    said: list[str] = []
    chunks, models = RunOptions(chunk=6.0), ModelOptions("mini")
    asked = InputOptions((tmp_path / "in",))
    (job,) = find_jobs(asked, models, chunks, WAV2LIP, said.append)
    assert job.reference is None and job.reference_folder is None
    assert said == ["--chunk: pieces are not compared with references, so reference/ is ignored (--no-reference)"]
    for wanted in (replace(asked, find_references=False), InputOptions((tmp_path / "in" / "reference",))):
        (job,) = find_jobs(wanted, models, chunks, WAV2LIP, said.append)
        assert job.reference is None and len(said) == 1
    (whole,) = find_jobs(asked, models, RunOptions(), WAV2LIP, said.append)
    assert whole.reference == tmp_path / "in" / "reference" / "a.mp4"
    (tmp_path / "list.csv").write_text("video,reference\nin/a.mp4,in/reference/a.mp4\n")
    listed = InputOptions((), manifest=tmp_path / "list.csv")
    with pytest.raises(UsageError, match="takes no references"):
        find_jobs(listed, models, chunks, WAV2LIP)
    (job,) = find_jobs(replace(listed, find_references=False), models, chunks, WAV2LIP)
    assert job.reference is None

"""A video against its reference: found by stem, compared frame by frame, and against FFmpeg's own psnr filter."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import typer
from skimage.metrics import structural_similarity
from typer.testing import CliRunner

from lipscore.errors import UsageError
from lipscore.eval import reference as task
from lipscore.eval.cli.commands.compare import compare
from lipscore.eval.options import ReferenceOptions
from lipscore.eval.reference import FrameScore, score_reference
from lipscore.media import ffmpeg, read, write
from lipscore.metrics.image.measure import Images
from lipscore.pool import available_cores
from lipscore.types import Shot, Track


def moving(n: int, size: tuple[int, int] = (64, 96), start: int = 0) -> list[np.ndarray]:
    """A pattern that moves a little from frame to frame."""
    y, x = np.indices(size)
    return [
        np.dstack([127 + 120 * np.sin((x + 3 * k) / 9 + c) * np.cos((y - 2 * k) / 7) for c in range(3)]).astype(
            np.uint8
        )
        for k in range(start, start + n)
    ]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video of 40 frames and a poorer copy of it."""
    folder = tmp_path_factory.mktemp("pair")
    good, poor = folder / "good.mp4", folder / "poor.mp4"
    write.write_video(good, moving(40), 25, crf=10)
    write.write_video(poor, moving(40), 25, crf=35)
    return poor, good


def test_values_are_those_of_the_decoded_frames(pair: tuple[Path, Path]) -> None:
    rows: list[FrameScore] = []
    options = ReferenceOptions(all_variants=True)
    score = score_reference(*pair, 25, None, options, per_frame=rows.append)
    assert score.status == "ok"
    frames = list(zip(*(read.frames_at(path, 25) for path in pair), strict=True))
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in frames]
    assert score.psnr == pytest.approx(np.mean([10 * np.log10(255**2 / e) for e in errors]), abs=1e-9)
    assert score.psnr_pooled == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), abs=1e-9)
    assert (score.psnr_variant, score.ssim_variant, score.region) == ("psnr-rgb", "ssim-wang-luma", "frame")
    uniform = [structural_similarity(a, b, channel_axis=-1, data_range=255) for a, b in frames]
    assert score.values["ssim-skimage-rgb"] == pytest.approx(np.mean(uniform), abs=1e-9)
    assert score.values["ssim-wang-luma"] == score.ssim
    assert "ms-ssim-luma" not in score.values  # frames are too small for it
    assert [row.reference_frame for row in rows] == [row.generated_frame for row in rows] == list(range(40))
    assert [row.values["ssim-skimage-rgb"] for row in rows] == pytest.approx(uniform, abs=1e-9)
    assert score.alignment is not None
    assert (score.alignment.n_generated, score.alignment.n_reference, score.alignment.n_compared) == (40, 40, 40)
    assert score.alignment.warning is None


def test_the_same_file_is_identical(pair: tuple[Path, Path]) -> None:
    score = score_reference(pair[1], pair[1])
    assert (score.psnr, score.psnr_pooled, score.ssim, score.n_identical) == (100, 100, 1, 40)


@pytest.mark.parametrize("crf", [18, 28, 40])
def test_psnr_is_ffmpegs(shared: Path, tmp_path: Path, crf: int) -> None:
    clip = sorted((shared / "clips" / "talking" / "1p_closeup_facingcamera").glob("*.mp4"))[0]
    poorer, log = tmp_path / f"crf{crf}.mp4", tmp_path / "psnr.log"
    encode = ["-t", "1.5", "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf"]
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), *encode, str(crf), str(poorer)], clip)
    short = tmp_path / "reference.mp4"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-t", "1.5", "-an", "-c:v", "copy", str(short)], clip)
    graph = "[0:v]format=bgr24,format=gbrp[a];[1:v]format=bgr24,format=gbrp[b];[a][b]psnr=stats_file=" + str(log)
    inputs = [*ffmpeg.input_args(poorer), *ffmpeg.input_args(short)]
    ffmpeg.run_ffmpeg([*inputs, "-lavfi", graph, "-f", "null", "-"], clip)
    lines = log.read_text().splitlines()
    per_frame = [float(re.search(r"psnr_avg:(\S+)", line)[1]) for line in lines]  # type: ignore[index]
    errors = [float(re.search(r"mse_avg:(\S+)", line)[1]) for line in lines]  # type: ignore[index]
    rows: list[FrameScore] = []
    score = score_reference(poorer, short, None, None, ReferenceOptions(align="index"), per_frame=rows.append)
    n = min(len(rows), len(lines))
    assert n >= 30
    assert [row.values["psnr-rgb"] for row in rows[:n]] == pytest.approx(per_frame[:n], abs=0.01)
    assert score.psnr == pytest.approx(np.mean(per_frame[: len(rows)]), abs=0.01)
    assert score.psnr_pooled == pytest.approx(10 * np.log10(255**2 / np.mean(errors[: len(rows)])), abs=0.01)


def test_timestamps_bring_different_frame_rates_together(tmp_path: Path) -> None:
    frames = moving(60)
    fast, slow = tmp_path / "fifty.mp4", tmp_path / "twentyfive.mp4"
    write.write_video(fast, frames, 50, crf=10)
    write.write_video(slow, frames[::2], 25, crf=10)
    by_time = score_reference(fast, slow)
    by_index = score_reference(fast, slow, 25, None, ReferenceOptions(align="index"))
    assert by_time.psnr is not None
    assert by_index.psnr is not None
    assert by_time.psnr > 35 > by_index.psnr + 10
    assert by_index.alignment is not None
    assert by_index.alignment.n_generated == 60
    assert "frame rates differ" in str(by_index.alignment.warning)
    assert "lengths differ" in str(by_index.alignment.warning)


@pytest.mark.parametrize("shift", [-4, 3])
def test_a_shift_is_found_and_reported(tmp_path: Path, shift: int) -> None:
    early, late = tmp_path / "early.mp4", tmp_path / "late.mp4"
    write.write_video(early, moving(40, start=5), 25)
    write.write_video(late, moving(40, start=5 - shift), 25)
    score = score_reference(late, early, 25, None, ReferenceOptions(align="shift", max_shift=6))
    assert score.alignment is not None
    assert (score.alignment.shift, score.alignment.n_compared) == (shift, 40 - abs(shift))
    still = score_reference(late, early)
    assert score.psnr is not None
    assert still.psnr is not None
    assert score.psnr > still.psnr + 10


def test_resizing_and_different_lengths_are_reported(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    other = tmp_path / "short and wide.mp4"
    write.write_video(other, moving(30, (32, 64)), 25)
    score = score_reference(other, pair[1])
    assert score.alignment is not None
    a = score.alignment
    assert (a.n_generated, a.n_reference, a.n_compared, a.resized) == (30, 40, 30, "area")
    assert "lengths differ: 30 generated frames, 40" in str(a.warning)
    assert "aspect ratios differ: 64x32 generated, 96x64" in str(a.warning)
    bicubic = score_reference(other, pair[1], 25, None, ReferenceOptions(resize="bicubic"))
    assert bicubic.alignment is not None
    assert bicubic.alignment.resized == "bicubic"
    assert bicubic.psnr != score.psnr


def face_at(frames: range, box: tuple[float, float, float, float]) -> Track:
    numbers = np.arange(frames.start, frames.stop)
    return Track(0, Shot(0, 40), numbers, np.tile(np.array(box, np.float64), (len(numbers), 1)))


def test_regions_are_the_crop_and_its_lower_half(pair: tuple[Path, Path]) -> None:
    track = face_at(range(40), (36, 16, 60, 40))  # centre 48, 28; half a side 12
    whole = score_reference(*pair, 25, [track], ReferenceOptions(region="face"))
    mouth = score_reference(*pair, 25, [track], ReferenceOptions(region="mouth"))
    frames = list(zip(*(read.frames_at(path, 25) for path in pair), strict=True))
    for score, rows in ((whole, slice(16, 49)), (mouth, slice(32, 49))):
        columns = slice(31, 64)
        errors = [np.mean((a[rows, columns].astype(float) - b[rows, columns]) ** 2) for a, b in frames]
        # a median filter over 13 frames counts zeros beyond the ends: a constant box is not moved by it
        assert score.psnr_pooled == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), abs=1e-9)
    assert (whole.region, mouth.region) == ("face", "mouth")


def test_frames_without_a_face_are_left_out_and_reported(pair: tuple[Path, Path]) -> None:
    score = score_reference(*pair, 25, [face_at(range(10, 30), (36, 16, 60, 40))], ReferenceOptions(region="face"))
    assert score.alignment is not None
    assert score.alignment.n_compared == 20
    assert "20 frames without a face" in str(score.alignment.warning)
    none = score_reference(*pair, 25, [], ReferenceOptions(region="face"))
    assert (none.status, none.psnr, none.values) == ("no_face", None, {})


def test_a_face_is_found_in_the_reference(shared: Path, tmp_path: Path) -> None:
    clip = sorted((shared / "clips" / "talking" / "1p_closeup_facingcamera").glob("*.mp4"))[0]
    short = tmp_path / "short.mp4"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-t", "0.9", "-an", "-c:v", "libx264", str(short)], clip)
    score = score_reference(short, short, 25, None, ReferenceOptions(region="mouth"))
    assert (score.status, score.ssim) == ("ok", 1)


def test_bad_files_are_a_status(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert score_reference(pair[0], text).status == "media_error"
    assert "text.mp4" in score_reference(text, pair[1]).reason
    assert score_reference(pair[0], tmp_path / "absent.mp4").status == "no_reference"
    tiny = tmp_path / "tiny.mp4"
    write.write_video(tiny, moving(5, (10, 64)), 25)
    assert score_reference(tiny, tiny).status == "too_small"


@pytest.mark.parametrize("options", [{"align": "time"}, {"region": "lips"}, {"resize": "box"}, {"max_shift": -1}])
def test_unknown_choices_are_usage_errors(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(options.values())))):
        ReferenceOptions(**options)  # type: ignore[arg-type]


def test_frames_are_not_collected(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No more frames are decoded ahead than the cores are given, however long the video is."""
    decoded, measured, ahead = [0], [0], [0]
    frames, images = read.frames_at, Images

    def counted(*args, **options):  # type: ignore[no-untyped-def]
        for frame in frames(*args, **options):
            decoded[0] += 1
            ahead[0] = max(ahead[0], decoded[0] // 2 - measured[0])
            yield frame

    def counting(*args):  # type: ignore[no-untyped-def]
        measured[0] += 1
        return images(*args)

    monkeypatch.setattr(read, "frames_at", counted)
    monkeypatch.setattr(task, "Images", counting)
    score_reference(*pair)
    assert measured[0] == 40
    assert ahead[0] <= available_cores() + 2


def run(*args: str | Path) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(compare)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_and_writes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "frames, all.csv"
    status, out, _ = run(*pair, "--per-frame", table, "--device", "cpu")
    assert status == 0
    score = score_reference(*pair)
    assert f"psnr-rgb: {score.psnr:.4f} dB" in out
    assert f"ssim-wang-luma: {score.ssim:.4f}" in out
    assert "region: frame; aligned by timestamp, shift +0: 40 pairs of 40 generated and 40 reference frames" in out
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert np.mean([float(row["psnr-rgb"]) for row in rows]) == pytest.approx(score.psnr, abs=1e-5)
    assert list(tmp_path.iterdir()) == [table]


def test_the_command_in_json_and_in_failure(pair: tuple[Path, Path], tmp_path: Path) -> None:
    import json

    status, out, _ = run(*pair, "--json", "--align", "shift", "--fps", "30000/1001")
    record = json.loads(out)
    assert (status, record["status"], record["alignment"]["method"]) == (0, "ok", "shift")
    assert record["psnr_variant"] == "psnr-rgb"
    status, out, err = run(pair[0], tmp_path / "absent.mp4", "--per-frame", tmp_path / "none.csv")
    assert (status, out) == (1, "")
    assert "no_reference" in err
    assert "absent.mp4" in err
    assert not list(tmp_path.iterdir())

"""`lipscore tracks`: what lies in the folders, and that it says what was scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lipscore import score_video
from lipscore.eval.cli.main import app
from lipscore.eval.setup import Models, Setup, load_models
from lipscore.eval.tools.tracks import write_tracks
from lipscore.media import read
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import VideoScore

NAME = "10_woman_doctor"


@pytest.fixture(scope="module")
def done(shared: Path, mini_models: Models, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VideoScore]:
    """The folder of a run, in which a crop of an earlier run and a file of the user's lay, and the run's record."""
    out = tmp_path_factory.mktemp("tracks")
    crops = out / "pycrop" / NAME
    crops.mkdir(parents=True)
    (crops / "00007.avi").write_text("of an earlier run")
    (crops / "notes.txt").write_text("the user's")
    clip = shared / "clips/talking/1p_closeup_facingcamera" / f"{NAME}.mp4"
    return out, write_tracks(clip, out, Setup(PROTOCOLS["wav2lip"], mini_models))


@pytest.fixture(scope="module")
def tracks(done: tuple[Path, VideoScore]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((done[0] / "pywork" / NAME / "tracks.json").read_text())
    return found


def test_the_layout_is_the_originals(done: tuple[Path, VideoScore]) -> None:
    out, record = done
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    work = [f"pywork/{NAME}/{name}" for name in ("distances.npz", "faces.json", "offsets.txt", "tracks.json")]
    assert names == [f"pycrop/{NAME}/00000.avi", f"pycrop/{NAME}/notes.txt", *work]
    lines = (out / work[2]).read_text().splitlines()
    assert lines == ["FILENAME\tOFFSET\tCONF", f"00000.avi\t{record.tracks[0].offset}\t{record.tracks[0].lse_c:.3f}"]


def test_a_crop_scores_as_its_track_did(done: tuple[Path, VideoScore], mini_models: Models) -> None:
    out, record = done
    again = score_video(out / f"pycrop/{NAME}/00000.avi", PROTOCOLS["wav2lip-lrs"], mini_models)
    assert again.tracks[0].curve == record.tracks[0].curve
    assert again.lse_c == record.lse_c


def test_tracks_json_says_what_was_scored(
    done: tuple[Path, VideoScore], tracks: dict[str, Any], golden: dict[str, Any]
) -> None:
    out, record = done
    (track,) = tracks["tracks"]
    n_frames = track["last_frame"] - track["first_frame"] + 1
    assert len(track["boxes_xyxy"]) == len(track["confidence"]) == n_frames
    assert read.probe(out / track["crop"]).n_frames == n_frames
    assert (track["offset"], track["n_windows"]) == (record.offset, record.tracks[0].n_windows)
    want = golden["closeup_doctor"]["wav2lip"]["tracks"][0]["boxes_xyxy_first_mid_last"][1]
    overlap = (
        np.minimum(want, track["boxes_xyxy"][n_frames // 2])[2:]
        - np.maximum(want, track["boxes_xyxy"][n_frames // 2])[:2]
    )
    assert overlap.prod() > 0.5 * (want[2] - want[0]) * (want[3] - want[1])


def test_distances_average_to_the_curve(done: tuple[Path, VideoScore]) -> None:
    out, record = done
    with np.load(out / f"pywork/{NAME}/distances.npz", allow_pickle=False) as arrays:
        distances = arrays["00000"]
    assert distances.shape == (record.tracks[0].n_windows, 31)
    assert np.allclose(np.nanmean(distances, axis=0), record.tracks[0].curve, atol=1e-4)


def test_faces_json_serves_as_detections(
    done: tuple[Path, VideoScore], tmp_path: Path, shared: Path, mini_models: Models
) -> None:
    out, record = done
    (tmp_path / f"{NAME}.json").write_bytes((out / f"pywork/{NAME}/faces.json").read_bytes())
    models = load_models("mini", detections=tmp_path, device="cpu")
    again = score_video(shared / f"clips/talking/1p_closeup_facingcamera/{NAME}.mp4", PROTOCOLS["wav2lip"], models)
    assert again.lse_c == pytest.approx(record.lse_c, abs=0.02)  # boxes are written to a thousandth of a pixel
    (face, *_), *_ = models.detector_for(Path(f"{NAME}.mp4"))([np.zeros((976, 528, 3), np.uint8)], [0])
    assert face.points is not None
    eyes, mouth = face.points[:2, 1].mean(), face.points[3:, 1].mean()
    assert face.box_xyxy[1] < eyes < face.points[2, 1] < mouth < face.box_xyxy[3]


def test_a_video_that_cannot_be_scored(tmp_path: Path, shared: Path) -> None:
    run = CliRunner()
    video = str(shared / "clips/README.md")
    result = run.invoke(app, ["tracks", video, "--out", str(tmp_path), "--model", "mini"])
    assert (result.exit_code, "media_error" in result.stderr) == (1, True)
    result = run.invoke(app, ["tracks", video, "--out", str(tmp_path), "--model", "mini", "--protocol", "lipscore-1"])
    assert (result.exit_code, "writes no crop files" in result.stderr) == (2, True)
    assert not list(tmp_path.rglob("*.*"))

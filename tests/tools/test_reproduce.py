"""`lipscore reproduce` on a table made of the golden numbers: they come out again, changed ones do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lipscore.errors import MissingError, UsageError
from lipscore.eval.cli.commands.results import reproduce
from lipscore.eval.tools import reproduce as task
from lipscore.media import ffmpeg, read, write
from lipscore.syncnet.models.published import Row, read_table
from lipscore.types import Status, TrackScore, VideoScore

CLIP = "talking/1p_closeup_facingcamera/10_woman_doctor.mp4"


@pytest.fixture
def run(shared: Path, kit_weights: Path) -> Any:
    app = typer.Typer()
    app.command()(reproduce)

    def call(*args: str) -> Any:
        kit = ["--weights-dir", str(kit_weights), "--allow-unverified", "--device", "cpu"]
        boxes = ["--detections", str(shared / "conformance/detections/avi"), "--videos", str(shared / "clips")]
        return CliRunner().invoke(app, [*args, *boxes, *kit])

    return call


def write_table(path: Path, golden: dict[str, Any], lse_d_off: float = 0.0, clip: str = CLIP) -> str:
    (track,) = golden["closeup_doctor"]["mochabench"]["tracks"]
    path.write_text(
        "clip,offsets,lse_c,lse_d,has_face\n"
        f"{clip},[{track['offset']}],{track['lse_c']},{track['lse_d'] + lse_d_off},True\n"
    )
    return str(path)


def test_equal_numbers_exit_0(run: Any, golden: dict[str, Any], tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", golden)
    done = run("mochabench", "--table", table, "--tolerance", "0.001")
    assert done.exit_code == 0, done.output
    assert "same 1, differs 0, missing 0" in done.stdout


def test_numbers_that_differ_exit_1(run: Any, golden: dict[str, Any], tmp_path: Path) -> None:
    done = run("mochabench", "--table", write_table(tmp_path / "table.csv", golden, lse_d_off=0.2))
    assert done.exit_code == 1
    assert "differs 1" in done.stdout


def test_a_missing_video_exits_3(run: Any, golden: dict[str, Any], tmp_path: Path) -> None:
    done = run("mochabench", "--table", write_table(tmp_path / "table.csv", golden, clip="gone.mp4"))
    assert done.exit_code == 3
    assert "gone.mp4" in done.stderr
    assert "missing 1" in done.stdout


@pytest.mark.slow
def test_mochabenchs_speech_files_give_the_published_numbers(
    run: Any, golden: dict[str, Any], shared: Path, tmp_path: Path
) -> None:
    """Laid out as MoChaBench's speeches/ is; another's speech gives other numbers."""
    speech = tmp_path / "speeches" / CLIP.replace(".mp4", "_speech.wav")
    speech.parent.mkdir(parents=True)
    clip = shared / "clips" / CLIP
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-vn", "-c:a", "pcm_f32le", str(speech)], clip)
    table = write_table(tmp_path / "table.csv", golden)
    asked = ("mochabench", "--table", table, "--tolerance", "0.001", "--audio", str(tmp_path / "speeches"))
    done = run(*asked)
    assert done.exit_code == 0 and "same 1, differs 0, missing 0" in done.stdout, done.output
    write.write_wav(speech, np.roll(read.read_pcm(clip), 16000), 16000)
    assert run(*asked).exit_code == 1


def test_speech_that_is_not_there_is_missing_and_never_the_videos_own(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    (tmp_path / "speeches").mkdir()
    published = task.get_published("mochabench")
    (got,) = task.reproduce(published, (ROW,), tmp_path, None, 1.0, tmp_path / "speeches")  # type: ignore[arg-type]
    assert got.verdict == "missing" and "has no sound for" in got.why
    with pytest.raises(MissingError, match="no such file or folder"):
        list(task.reproduce(published, (ROW,), tmp_path, None, 1.0, tmp_path / "gone"))  # type: ignore[arg-type]
    app = typer.Typer()
    app.command()(reproduce)
    done = CliRunner().invoke(app, ["syncnet-demo", "--audio", str(tmp_path)])
    assert done.exit_code == 2 and "made with the videos' own sound" in done.output


def recorded(lse_d: float | None, lse_c: float | None, *offsets: int, status: Status = "ok") -> VideoScore:
    tracks = tuple(TrackScore(k, 0, 99, offset, 7.0, 6.0, 95, ()) for k, offset in enumerate(offsets))
    return VideoScore(
        "a.mp4", "a", "", status, "why", "mochabench", "vgg", True, tracks=tracks, lse_d=lse_d, lse_c=lse_c
    )


ROW = Row("a.mp4", (2, -1), 7.0, 6.0)
FACELESS = Row("a.mp4", (), None, None)


@pytest.mark.parametrize(
    ("row", "record", "verdict", "why"),
    [
        (ROW, recorded(7.0, 6.0, 2, -1), "same", ""),
        (ROW, recorded(7.125, 5.875, 2, -1), "same", ""),  # at the tolerance
        (ROW, recorded(6.875, 6.125, 2, -1), "same", ""),
        (ROW, recorded(7.25, 6.0, 2, -1), "differs", ""),  # one of the two is enough
        (ROW, recorded(7.0, 6.25, 2, -1), "differs", ""),
        (ROW, recorded(6.75, 6.0, 2, -1), "differs", ""),
        (ROW, recorded(7.0, 5.75, 2, -1), "differs", ""),
        (ROW, recorded(7.0, 6.0, -1, 2), "differs", "offsets [-1, 2], published [2, -1]"),
        (ROW, recorded(7.0, 6.0, 2), "differs", "offsets [2]"),
        (ROW, recorded(None, None, status="no_track"), "differs", "no_track: why"),
        (FACELESS, recorded(None, None, status="no_track"), "same", ""),
        (FACELESS, recorded(None, None, status="no_face"), "same", ""),
        (FACELESS, recorded(None, None, status="no_audio"), "differs", "without a face, here no_audio"),
        (FACELESS, recorded(7.0, 6.0, 0), "differs", "without a face, here ok"),
    ],
)
def test_the_verdict_on_each_kind_of_row(row: Row, record: VideoScore, verdict: str, why: str) -> None:
    found = task.compare(row, record, 0.125)
    assert (found.verdict, why in found.why, bool(found.why)) == (verdict, True, bool(why))
    if row.lse_d is not None and row.lse_c is not None and record.lse_d is not None and record.lse_c is not None:
        assert (found.d_lse_d, found.d_lse_c) == (record.lse_d - row.lse_d, record.lse_c - row.lse_c)


def test_the_published_results_and_their_tolerances() -> None:
    assert {name: (p.protocol, p.tolerance) for name, p in task.PUBLISHED.items()} == {
        "syncnet-demo": ("wav2lip-lrs", 0.002),
        "mochabench": ("mochabench", 0.1),
    }
    assert (task.DEMO.offsets, task.DEMO.lse_d, task.DEMO.lse_c) == ((3,), 5.353, 10.021)


def test_the_demo_is_held_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "example.avi").write_bytes(b"another film")
    published = task.get_published("syncnet-demo")
    assert published.rows is not None
    (got,) = task.reproduce(published, published.rows, tmp_path, None, 1.0)  # type: ignore[arg-type]
    assert got.verdict == "missing"
    assert "is not the published file" in got.why


def test_a_bad_table_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("clip,offsets,lse_c,lse_d,has_face\na.mp4,[0],1.0,2.0,True\nb.mp4,[0],x,2.0,True\n")
    with pytest.raises(UsageError, match=r"table\.csv: line 3"):
        read_table(path)
    path.write_text("clip,lse_c\n")
    with pytest.raises(UsageError, match="no column offsets, lse_d, has_face"):
        read_table(path)
    with pytest.raises(MissingError, match=r"gone\.csv"):
        read_table(tmp_path / "gone.csv")


def test_a_table_that_a_spreadsheet_saved_again_says_the_same(tmp_path: Path) -> None:
    """With TRUE for True and a byte order mark; a row of NaN would differ from everything, and is refused."""
    path = tmp_path / "table.csv"
    path.write_text("\ufeffclip,offsets,lse_c,lse_d,has_face\na.mp4,[0],1.0,2.0,TRUE\nb.mp4,[],0,0,FALSE\n")
    assert read_table(path) == (Row("a.mp4", (0,), 2.0, 1.0), Row("b.mp4", (), None, None))
    for row in ("a.mp4,[0],nan,2.0,True", "a.mp4,[0],1.0,2.0,maybe", "a.mp4,[0]"):
        path.write_text(f"clip,offsets,lse_c,lse_d,has_face\n{row}\n")
        with pytest.raises(UsageError, match="line 2"):
            read_table(path)
    with pytest.raises(UsageError, match="syncnet-demo, mochabench"):
        task.get_published("table7")


def test_the_whole_published_table_is_read(shared: Path) -> None:
    rows = read_table(shared / "clips/published_scores.csv")
    assert len(rows) == 164
    assert all((row.lse_d is None) == (not row.offsets) for row in rows)

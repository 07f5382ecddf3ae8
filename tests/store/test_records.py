"""scores.jsonl and scores.csv: what is written is what is read, whole lines only, and what counts as scored already."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipscore.errors import MissingError
from lipscore.eval.store.appending import append_whole
from lipscore.eval.store.records import (
    Record,
    RecordStore,
    as_csv,
    as_json,
    as_line,
    from_json,
    latest_of,
    read_records,
)
from lipscore.media.files.aside import replace_whole
from lipscore.types import Alignment, GivenSound, ReferenceScore, Shot, TrackScore, VideoScore

SCORE = VideoScore(
    video="in/a.mp4",
    name="a",
    sha256="ab" * 32,
    status="ok",
    reason="",
    protocol="wav2lip",
    model="vgg",
    comparable=True,
    changed=("min_track=50 (wav2lip: 100)",),
    fps=25.0,
    n_frames=134,
    duration_s=5.36,
    shots=(Shot(0, 134),),
    tracks=(TrackScore(0, 0, 133, -2, 7.25, 6.5, 129, tuple(float(k) for k in range(31))),),
    lse_d=7.25,
    lse_c=6.5,
    offset=-2,
    psnr=31.5,
    ssim=0.9,
    alignment=Alignment("timestamp", 134, 133, 133, 0, None, "lengths differ"),
    reference=ReferenceScore(
        "ok", "", "ref/a.mp4", "whole", 31.5, 0.9, {"psnr_rgb": 31.5}, 0, Alignment("index", 1, 1, 1, 0, "area", None)
    ),
    notes=("s3fd looked at 134 of 134 frames",),
    seconds={"faces": 1.5, "embed": 0.5},
)
# ../shared/design/architecture.md, Formats
SHARED_FIELDS = "schema video name sha256 status reason protocol model comparable fps n_frames duration_s shots tracks"
NUMBER_FIELDS = "lse_d lse_c offset psnr ssim alignment seconds"
TRACK_FIELDS = "track first_frame last_frame offset lse_d lse_c n_windows curve offset_ms mouth_motion"
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.text(), st.text(), numbers, st.floats(), st.floats())
def test_a_record_survives_writing_and_reading(
    name: str, reason: str, psnr: float | None, lse_d: float, in_curve: float
) -> None:
    track = replace(SCORE.tracks[0], lse_d=lse_d, curve=(in_curve, 1.0))
    record = Record(replace(SCORE, name=name, reason=reason, psnr=psnr, tracks=(track,)), "s", "k")
    line = as_line(record)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    back = from_json(json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON")))
    finite = replace(
        track,
        lse_d=lse_d if math.isfinite(lse_d) else math.nan,
        curve=(in_curve if math.isfinite(in_curve) else math.nan, 1.0),
    )
    # repr, because NaN is not equal to itself
    assert repr(back) == repr(replace(record, score=replace(record.score, tracks=(finite,))))


def test_the_contracts_fields_in_their_order() -> None:
    fields = list(as_json(Record(SCORE)))
    contract = (SHARED_FIELDS + " " + NUMBER_FIELDS).split()
    assert [name for name in fields if name in contract] == contract
    assert list(as_json(Record(SCORE))["tracks"][0]) == TRACK_FIELDS.split()


def test_numpy_numbers_are_plain_and_nan_is_null() -> None:
    line = as_line(Record(replace(SCORE, lse_d=np.float32("nan"), lse_c=np.float64(2), offset=np.int64(3))))  # type: ignore[arg-type]
    data = json.loads(line)
    assert (data["lse_d"], data["lse_c"], data["offset"]) == (None, 2.0, 3)


def test_a_name_that_is_no_unicode_survives() -> None:
    name = os.fsdecode(b"caf\xe9 \xff")
    assert from_json(json.loads(as_line(Record(replace(SCORE, name=name))))).score.name == name


def test_csv_has_a_row_per_video_and_empty_cells_for_nothing() -> None:
    other = replace(SCORE, name='b "x",\ny', status="no_face", reason="no face", tracks=(), lse_d=None, reference=None)
    first, second = csv.DictReader(as_csv([Record(SCORE), Record(other)]).decode().splitlines(keepends=True))
    assert (first["lse_d"], first["offset"], first["tracks"], first["comparable"]) == ("7.25", "-2", "1", "true")
    assert (first["reference"], first["seconds"]) == ("ref/a.mp4", "2.0")
    assert (second["name"], second["lse_d"], second["status"]) == ('b "x",\ny', "", "no_face")


@pytest.mark.parametrize("half", [b'{"schema": 1, "vid', b"\xff\xfe"])
def test_half_a_last_line_is_skipped_and_then_repaired(tmp_path: Path, half: bytes) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_bytes(as_line(Record(SCORE, "s", "k1")) + half)
    records, problems = read_records(path)
    assert [record.key for record in records] == ["k1"] and [line for line, _ in problems] == [2]
    store = RecordStore(tmp_path)
    store.append(Record(SCORE, "s", "k2"))
    records, problems = read_records(path)
    assert [record.key for record in records] == ["k1", "k2"] and not problems


def test_a_whole_last_line_without_its_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_bytes(as_line(Record(SCORE, "s", "k1")).rstrip())
    RecordStore(tmp_path).append(Record(SCORE, "s", "k2"))
    assert [record.key for record in read_records(path)[0]] == ["k1", "k2"]


def test_invalid_lines_are_reported_by_number(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    good = as_line(Record(SCORE, "s", "k"))
    strange = json.dumps({**json.loads(good), "status": "fine"}).encode()
    path.write_bytes(good + b"\n[1]\n" + good.replace(b'"schema": 1', b'"schema": 99') + strange + b"\n" + good)
    records, problems = read_records(path)
    assert len(records) == 2
    assert [line for line, _ in problems] == [3, 4, 5] and "'fine'" in problems[2][1]


def test_failures_that_may_pass_are_tried_again(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    for key, status in (("a", "ok"), ("b", "no_face"), ("c", "media_error"), ("d", "error")):
        store.append(Record(replace(SCORE, status=status), "s", key))  # type: ignore[arg-type]
    again = RecordStore(tmp_path)
    assert [key for key in "abcde" if again.held(key)] == ["a", "b"]
    assert again.settings_held == {"s"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lse_d", "7"),
        ("name", 5),
        ("duration_s", "long"),
        ("offset", True),
        ("silent", 1),
        ("tracks", [{**as_json(Record(SCORE))["tracks"][0], "offset_ms": "early"}]),
        ("reference", {**as_json(Record(SCORE))["reference"], "psnr": [1]}),
        ("alignment", {**as_json(Record(SCORE))["alignment"], "shift": "1"}),
    ],
)
def test_a_field_of_another_kind_is_no_record(name: str, value: object) -> None:
    """A table or a page of it would end with a traceback, or sort texts among numbers."""
    with pytest.raises(ValueError, match="of the wrong kind"):
        from_json(as_json(Record(SCORE)) | {name: value})
    whole = as_json(Record(SCORE)) | {"fps": 25, "duration_s": 5, "lse_d": None}
    assert from_json(whole).score.fps == 25


@pytest.mark.parametrize(("status", "again"), [("too_large", True), ("timed_out", True), ("media_error", False)])
def test_a_reference_over_a_limit_is_tried_again(tmp_path: Path, status: str, again: bool) -> None:
    """Its reason names the option that reads on, and no limit is part of the key."""
    store = RecordStore(tmp_path)
    store.append(
        Record(replace(SCORE, reference=ReferenceScore(status, "", "r", "frame", None, None, {}, 0, None)), "s", "1")
    )
    assert (store.held("1") is None) is again


def test_csv_is_the_last_record_of_each_video_and_settings(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.append(Record(SCORE, "wav2lip", "1"))
    store.append(Record(replace(SCORE, video="in/b.mp4", name="b"), "wav2lip", "2"))
    store.append(Record(replace(SCORE, offset=5), "wav2lip", "1"))
    store.append(Record(replace(SCORE, protocol="joonson"), "joonson", "3"))
    store.write_csv()
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert [(row["name"], row["offset"], row["protocol"]) for row in rows] == [
        ("a", "5", "wav2lip"),
        ("b", "-2", "wav2lip"),
        ("a", "-2", "joonson"),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"scores.jsonl", "scores.csv"}


def test_a_file_that_a_manifest_names_twice_has_a_row_for_each(tmp_path: Path) -> None:
    """Two sounds of one video are two results; another name for the same result, or changed bytes, replace it."""
    heard = [replace(SCORE, name=name, audio=GivenSound(f"{name}.wav", name)) for name in ("first", "second")]
    store = RecordStore(tmp_path)
    store.append(Record(heard[0], "s", "1"))
    store.append(Record(replace(heard[0], name="no sound", status="media_error", sha256="", audio=None), "s", ""))
    store.append(Record(heard[1], "s", "2"))
    store.append(Record(replace(heard[0], offset=7), "s", "3"))  # the first, against another sound of that name
    store.write_csv()
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert [(row["name"], row["offset"]) for row in rows] == [("first", "7"), ("no sound", "-2"), ("second", "-2")]
    renamed = Record(replace(heard[1], name="x/second.mp4"), "s", "2")
    changed = Record(replace(SCORE, name="new", sha256="cd" * 32), "s", "4")
    before, _ = read_records(tmp_path / "scores.jsonl")
    assert [one.score.name for one in latest_of([*before, renamed])] == ["no sound", "first", "x/second.mp4"]
    assert [one.score.name for one in latest_of([*before, renamed, changed])] == ["no sound", "new"]


def test_two_runs_at_once_leave_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    code = (
        "import sys; from pathlib import Path; from lipscore.eval.store.appending import append_whole\n"
        "for k in range(60): append_whole(Path(sys.argv[1]), (sys.argv[2] * 20000 + '\\n').encode())"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "ab"]
    assert [run.wait() for run in runs] == [0, 0]
    lines = path.read_text().splitlines()
    assert sorted(lines) == ["a" * 20000] * 60 + ["b" * 20000] * 60


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from lipscore.errors import MissingError; from lipscore.eval.store.appending import append_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "append_whole(Path(sys.argv[1]), b'x' * 799 + b'\\n')\n"
        "try: append_whole(Path(sys.argv[1]), b'y' * 799 + b'\\n')\n"
        "except MissingError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert "full" in said and path.read_bytes() == b"x" * 799 + b"\n"


@pytest.mark.parametrize("write", [append_whole, replace_whole])
def test_a_file_in_place_of_a_folder_is_reported(tmp_path: Path, write: object) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="is a file, not a folder"):
        write(tmp_path / "file" / "scores", b"1\n")  # type: ignore[operator]


def test_a_read_only_folder_is_reported() -> None:
    with pytest.raises(MissingError, match=r"/proc/lipscore.*choose another place"):
        RecordStore(Path("/proc/lipscore"))

"""all_scores.txt: one line per track whatever the name, readable by numpy and by us, appended and never replaced."""

from __future__ import annotations

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
from lipscore.eval.store import scores_file
from lipscore.types import TrackScore, VideoScore

TRACKS = tuple(TrackScore(k, 0, 99, 2 - k, 7.5 + k, 6.25 - k, 95, (0.0,) * 31) for k in range(2))
SCORE = VideoScore(
    "in/a.mp4", "a", "00", "ok", "", "wav2lip", "vgg", True, tracks=TRACKS, lse_d=8.0, lse_c=5.75, offset=2
)
NAMES = [
    "two words",
    'a "b"',
    "a#b",
    "# a",
    "a\nb",
    "a\r\u2028\x85b",
    "-x",
    "ünïcode",
    "",
    "\\",
    "a\tb",
    "7.5 6.5",
    "a  # b=1",
]


def test_a_line_as_the_contract_has_it() -> None:
    assert scores_file.lines_of(replace(SCORE, tracks=TRACKS[:1], psnr=31.2, ssim=0.9)) == (
        "7.500000 6.250000 31.200000 0.900000  # a track=0 offset=2 protocol=wav2lip model=vgg",
    )
    unscored = replace(SCORE, status="no_face", reason="no face in\nany of 9 frames", tracks=())
    how = "protocol=wav2lip model=vgg"
    assert scores_file.lines_of(unscored) == (f"# a no_face no face in any of 9 frames  # {how}",)
    with_reference = replace(unscored, psnr=31.2, ssim=0.9, folder="my videos")
    assert scores_file.lines_of(with_reference) == (
        f'# a no_face no face in any of 9 frames  # {how} folder="my videos" psnr=31.200000 ssim=0.900000',
    )


@given(st.text() | st.sampled_from([*NAMES, os.fsdecode(b"\xff\xe9 x")]), st.text())
def test_any_name_stays_on_one_line_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, reason: str
) -> None:
    path = tmp_path_factory.mktemp("names") / "all_scores.txt"
    scored = replace(SCORE, name=name)
    scores_file.append_lines(path, scores_file.lines_of(scored))
    scores_file.append_lines(path, scores_file.lines_of(replace(scored, status="media_error", reason=reason)))
    assert len(path.read_bytes().decode().splitlines()) == 3
    scores = scores_file.read_scores(path)
    assert not scores.malformed
    assert [(row.name, row.track) for row in scores.rows] == [(name, 0), (name, 1)]
    assert [(video.name, video.status) for video in scores.not_scored] == [(name, "media_error")]
    assert [len(group) for group in scores_file.by_video(scores.rows)] == [2]


def test_numpy_reads_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    for name in NAMES:
        scores_file.append_lines(path, scores_file.lines_of(replace(SCORE, name=name, psnr=30.0)))
        scores_file.append_lines(path, scores_file.lines_of(replace(SCORE, name=name, status="no_face", reason="x")))
    table = np.loadtxt(path)
    assert table.shape == (2 * len(NAMES), 4)
    np.testing.assert_array_equal(table[0], [7.5, 6.25, 30.0, math.nan])
    assert np.all(table[1::2, 0] == 8.5)


def test_files_of_the_older_scripts_and_what_is_wrong_in_them(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_text("7.1 6.2\n\nseven six\n# my own remark\n8.1\t5.2\n9.5\n7 nan\n1 2 3 4 5\n6.5 7.5 30")
    scores = scores_file.read_scores(path)
    assert [(row.line, row.lse_d, row.lse_c) for row in scores.rows] == [(1, 7.1, 6.2), (5, 8.1, 5.2), (9, 6.5, 7.5)]
    assert scores.rows[2].psnr == 30 and math.isnan(scores.rows[0].psnr)
    assert [line for line, _ in scores.malformed] == [3, 6, 7, 8]
    assert not scores.not_scored
    assert len(scores_file.by_video(scores.rows)) == 3


def test_a_video_scored_again_is_a_group_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    other = replace(SCORE, name="b", tracks=TRACKS[1:])
    for score in (SCORE, SCORE, replace(SCORE, protocol="joonson"), other, other):
        scores_file.append_lines(path, scores_file.lines_of(score))
    groups = scores_file.by_video(scores_file.read_scores(path).rows)
    assert [(group[0].name, group[0].protocol, len(group)) for group in groups] == [
        ("a", "wav2lip", 2),
        ("a", "wav2lip", 2),
        ("a", "joonson", 2),
        ("b", "wav2lip", 1),
        ("b", "wav2lip", 1),
    ]


def test_a_last_line_without_newline_is_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    path.write_text("7.1 6.2")
    scores_file.append_lines(path, ["8 5"])
    assert path.read_text() == "7.1 6.2\n8 5\n"


def test_the_file_itself_stays(tmp_path: Path) -> None:
    """A file that is mounted on its own can be appended to and not replaced: it must stay the same file."""
    path = tmp_path / "all_scores.txt"
    path.touch()
    before = path.stat().st_ino
    scores_file.append_lines(path, ["8 5"])
    assert path.stat().st_ino == before and [p.name for p in tmp_path.iterdir()] == ["all_scores.txt"]


def test_a_pipe_takes_lines_too(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from lipscore.eval.store import scores_file\n"
    code += "scores_file.append_lines(Path('/dev/stdout'), ['8 5']); print(scores_file.held_lines(Path('/dev/stdout')))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "8 5\nset()\n"


def test_a_directory_in_its_place_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "all_scores.txt"
    folder.mkdir()
    with pytest.raises(MissingError, match=r"is a directory.*rmdir all_scores\.txt && touch all_scores\.txt"):
        scores_file.append_lines(folder, ["8 5"])
    with pytest.raises(MissingError, match="is a directory"):
        scores_file.read_scores(folder)
    assert scores_file.held_lines(folder) == set()


def test_a_file_of_another_user_says_who_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    path.touch(mode=0o444)
    code = (
        "import os, sys; from pathlib import Path; from lipscore.eval.store import scores_file\n"
        "from lipscore.errors import MissingError\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: scores_file.append_lines(Path(sys.argv[1]), ['8 5'])\n"
        "except MissingError as error: print(error)"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder.parts[1:2] == ("tmp",) and len(folder.parts) > 2:
            folder.chmod(0o755)
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert "not writable for user" in said and path.read_bytes() == b""


def test_no_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        scores_file.read_scores(tmp_path / "none.txt")

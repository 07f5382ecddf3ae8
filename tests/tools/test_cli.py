"""The command line's contract: what it prints where, which files it leaves, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import lipscore
from lipscore.demo.clips import render_clip
from lipscore.eval.cli.main import app
from lipscore.eval.store.records import read_records
from lipscore.eval.store.scores_file import read_scores
from lipscore.syncnet.protocols import PROTOCOLS

DIRECT = ("--protocol", "wav2lip-lrs", "--model", "mini", "--device", "cpu")


KEPT = ("--out", "eval/results", "--scores-file", "all_scores.txt")  # as make and the container call it


COMMANDS = "score average weights protocols doctor merge compare reproduce demo train"


ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half of a talking head: enough for a protocol that looks for no face."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    render_clip(path, seed=3, seconds=1.6, size=(224, 224))
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to run in, without official weights and without network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIPSCORE_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LIPSCORE_WEIGHTS", raising=False)
    return tmp_path


def lipscore_(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def process(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lipscore.eval", *arguments]


def videos_in(folder: Path, clip: Path, *names: str) -> Path:
    """Files with these names: the clip, each with some bytes more at its end, so that no two are equal."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.read_bytes() + os.fsencode(name))
    return folder


def test_help_waits_for_no_heavy_import() -> None:
    code = "import sys, lipscore.eval.cli.main; print([m for m in ('torch', 'cv2', 'av', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_contracts_commands_and_options_are_there() -> None:
    said = lipscore_("--help").stdout
    for command in COMMANDS.split():
        assert re.search(rf"^│ {command} ", said, re.M), command
        help_text = lipscore_(command, "--help")
        assert help_text.exit_code == 0 and "Raises" not in help_text.stdout
    assert lipscore_("train", "mini", "--help").exit_code == 0
    options = (
        "--reference --protocol --model --weights-dir --allow-unverified --detector --detections --device --out "
        "--scores-file --no-resume "
        "--json --min-track --min-face-size --facedet-scale --crop-scale --vshift --batch-size --fast "
        "--shard --align --region --workers --precision"
    )
    said = lipscore_("score", "--help").stdout
    assert [option for option in options.split() if option not in said] == []
    assert lipscore_("--version").stdout == f"lipscore {lipscore.__version__}\n"


def test_a_run_and_what_it_leaves(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4", "b.mp4", "reference/a.mp4")
    (here / "in" / "c.mp4").write_text("no video")
    result = lipscore_("score", "in", *DIRECT, "--out", "out")
    assert result.exit_code == 1, result.stderr
    header, *rows = result.stdout.splitlines()
    titles = ["video", "tracks", "offset", "ms", "LSE-D~ ↓", "LSE-C~ ↑", "PSNR ↑", "SSIM ↑", "status"]
    assert re.split(" {2,}", header) == titles
    table = {row.split()[0]: row.split()[-1] for row in rows[:3]}
    assert table == {"a": "ok", "b": "ok", "c": "media_error"}
    assert "2 scored / 3 total" in result.stdout and "model=mini comparable=false" in result.stdout
    assert ESCAPE not in result.stdout + result.stderr
    assert "/3] c: media_error: in/c.mp4" in result.stderr and ", no reference" in result.stderr

    records, _ = read_records(here / "out" / "scores.jsonl")
    records.sort(key=lambda record: record.score.name)
    assert [record.score.status for record in records] == ["ok", "ok", "media_error"]
    a, b = records[0].score, records[1].score
    assert a.reference is not None and a.reference.status == "ok" and a.psnr is not None and a.psnr > 90
    assert b.reference is not None and b.reference.status == "no_reference" and b.psnr is None
    with (here / "out" / "scores.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", "b", "c"]
    rows_by_name = sorted(read_scores(here / "out" / "all_scores.txt").rows, key=lambda row: str(row.name))
    assert [row.name for row in rows_by_name] == ["a", "b"]
    numbers = np.loadtxt(here / "out" / "all_scores.txt")
    numbers = numbers[np.argsort(np.isnan(numbers[:, 2]))]  # a has a reference, b has none
    assert numbers[:, :2] == pytest.approx(np.array([[s.lse_d, s.lse_c] for s in (a, b)], float), abs=1e-6)
    assert numbers[0, 2] == pytest.approx(a.psnr, abs=1e-6) and np.isnan(numbers[1, 2])

    run = json.loads((here / "out" / "run.json").read_text())
    assert (run["videos"], run["scored"], run["model"], run["comparable"]) == (3, 2, "mini", False)
    assert run["protocol"]["hash"] == PROTOCOLS["wav2lip-lrs"].hash and run["ffmpeg"]["overridden"] is False
    assert [video["name"] for video in run["not_scored"]] == ["c"]
    assert run["weights"][0]["name"] == "mini.safetensors" and len(run["weights"][0]["sha256"]) == 64
    assert run["packages"]["torch"] and run["device"]["name"] == "cpu" and run["command"]
    assert run["means_over_rows"]["lse_d"]["n"] == 2 and run["means_over_videos"]["psnr"]["n"] == 1
    assert run["means_over_videos"]["lse_d"]["mean"] == pytest.approx(numbers[:, 0].mean(), abs=1e-6)


def test_json_is_all_that_stands_on_standard_output(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4", "b.mp4")
    first = lipscore_("score", "in", *DIRECT, *KEPT, "--json")
    assert first.exit_code == 0, first.stderr
    records = [json.loads(line) for line in first.stdout.splitlines()]
    assert sorted(record["name"] for record in records) == ["a", "b"]
    assert "2 scored / 2 total" in first.stderr
    second = lipscore_("score", "in", *DIRECT, *KEPT, "--json")
    assert sorted(second.stdout.splitlines()) == sorted(first.stdout.splitlines())
    assert second.stderr.count("scored before") == 2
    assert (here / "all_scores.txt").read_text().count("\n") == 2
    lipscore_("score", "in", *DIRECT, *KEPT, "--no-resume")
    assert (here / "all_scores.txt").read_text().count("\n") == 4
    assert not lipscore_("score", "in", *DIRECT, *KEPT, "--vshift", "10").stderr.count("scored before")


def test_without_an_output_nothing_is_written(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4", "b.mp4")
    before = sorted(here.rglob("*"))
    for more in ((), ("--json",), ("--shard", "1/2")):
        result = lipscore_("score", "in", *DIRECT, *more)
        assert result.exit_code == 0 and "scored before" not in result.stderr and "LSE-D~" in result.output
    assert sorted(here.rglob("*")) == before
    result = lipscore_("score", "in", *DIRECT, "--scores-file", "lines.txt")
    assert result.exit_code == 0 and len(read_scores(here / "lines.txt").rows) == 2
    assert sorted({*here.rglob("*")} - {*before}) == [here / "lines.txt"]
    for command in (("merge", "in"), ("report", "in"), ("generate", "--face", "a", "--audio", "b")):
        result = lipscore_(*command)
        assert result.exit_code == 2 and "Missing option '--out'" in result.stderr, command
    assert sorted({*here.rglob("*")} - {*before}) == [here / "lines.txt"]


def test_a_changed_protocol_is_reported(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4")
    result = lipscore_("score", "in", *DIRECT, *KEPT, "--vshift", "10")
    assert "changed: vshift=10 (wav2lip-lrs: 15)" in result.stdout
    record = read_records(here / "eval" / "results" / "scores.jsonl")[0][0].score
    assert len(record.tracks[0].curve) == 21 and record.changed and not record.comparable


def test_names_of_every_kind(here: Path, clip: Path) -> None:
    names = ["two words.mp4", 'a "quote".mp4', "-dash.mp4", "[bold]b#c.mp4", "ünïcode.mp4", "new\nline.mp4"]
    for name in (*names, os.fsdecode(b"caf\xe9.mp4"), "x/same.mp4", "y/same.mp4", "%05d.mp4"):
        path = here / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)  # equal files: one is scored, the others have its numbers under their own names
    result = lipscore_("score", "in", *DIRECT, *KEPT)
    assert result.exit_code == 0, result.stdout + result.stderr
    stems = {Path(name).stem for name in (*names, "%05d", os.fsdecode(b"caf\xe9.mp4"))}
    rows = read_scores(here / "all_scores.txt").rows
    assert {row.name for row in rows} == {*stems, "x/same.mp4", "y/same.mp4"} and len(rows) == 10
    assert len(read_records(here / "eval" / "results" / "scores.jsonl")[0]) == 10
    again = lipscore_("score", *DIRECT, "--out", "out2", "--", "in/-dash.mp4")
    assert again.exit_code == 0


def test_shards_together_are_the_whole(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4", "b.mp4", "c.mp4")
    for shard in ("1/2", "2/2"):
        assert lipscore_("score", "in", *DIRECT, "--shard", shard, "--out", "out").exit_code == 0
    assert sorted(str(row.name) for row in read_scores(here / "out" / "all_scores.txt").rows) == ["a", "b", "c"]
    assert (here / "out" / "scores.csv").read_text().count("\n") == 4
    counts = [json.loads((here / "out" / f"run-{k}-of-2.json").read_text())["videos"] for k in (1, 2)]
    assert counts == [2, 1]


def test_wrong_usage_ends_with_2(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4")
    for arguments, said in (
        ((), "nothing to score"),
        (("in", "--no-such"), "No such option"),
        (("in", "--protocol", "none"), "no such protocol"),
        (("in", "--model", "none"), "--model none: unknown choice"),
        (("in", "--device", "abacus"), "not a device"),
        (("in", "--shard", "3/2"), "--shard 3/2"),
        (("in", "--vshift", "-1"), "vshift"),
        (("in", "--region", "nose"), "'nose'"),
        (("in", "--floor"), "--floor: writes into the output folder; give --out DIR too"),
        (("in", "--keep-pictures"), "--keep-pictures: writes into the output folder; give --out DIR too"),
        (("in", "--scores-file", "-"), "--scores-file -: name a file"),
    ):
        result = lipscore_("score", *arguments)
        assert (result.exit_code, said in result.stderr) == (2, True), (arguments, result.stderr)
        assert result.stdout == "" and "Traceback" not in result.stderr
    assert sorted(here.iterdir()) == [here / "in"]


def test_two_references_for_one_video_are_both_named(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4", "reference/a.mp4", "reference/a.avi")
    result = lipscore_("score", "in", *DIRECT)
    assert result.exit_code == 2 and "a.avi" in result.stderr and "reference/a.mp4" in result.stderr


def test_something_missing_exits_3_with_instructions(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4")
    (here / "empty").mkdir()
    (here / "folder.txt").mkdir()
    (here / "file").write_text("")
    for arguments, said in (
        (("gone",), "gone: no such file or folder"),
        (("empty",), "empty: contains no video"),
        (("in", "--scores-file", "folder.txt"), "is a directory"),
        (("in", "--out", "file"), "is a file"),
        (("in", "--out", "/proc/none"), "choose another place"),
        (("in", "--weights-dir", "gone"), "--weights-dir gone: not a folder"),
        (("in", "--model", "vgg"), "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442"),
        (("in", "--model", "mini", "--detections", "gone"), "--detections gone"),
    ):
        result = lipscore_("score", *arguments)
        assert (result.exit_code, said in result.stderr) == (3, True), (arguments, result.stderr)
        assert result.stdout == "" and "Traceback" not in result.stderr


def test_auto_without_weights_says_that_the_built_in_model_scores(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4")
    result = lipscore_("score", "in", "--protocol", "wav2lip-lrs")
    assert result.exit_code == 0
    assert result.stderr.startswith("model=mini: the official weights are not here")


def test_average_prints_to_standard_output_and_warns_beside_it(here: Path) -> None:
    (here / "all_scores.txt").write_text("7 6\n8 5\n")
    result = lipscore_("average")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("avg. LSE-D: 7.500000 (n=2)\navg. LSE-C: 5.500000 (n=2)\n")
    assert "no interval from fewer than 10" in lipscore_("average", "--bootstrap").stdout
    (here / "b.txt").write_text("6 6\nbroken\n7 5\n")
    assert "B - A -1.000000" in lipscore_("average", "all_scores.txt", "b.txt").stdout
    result = lipscore_("average", "b.txt")
    assert result.exit_code == 1 and "line 2" in result.stderr
    assert lipscore_("average", "gone.txt").exit_code == 3


def test_protocols_are_shown_with_their_sources() -> None:
    said = lipscore_("protocols").stdout
    assert all(f"{name} " in said and found.hash in said for name, found in PROTOCOLS.items())
    said = lipscore_("protocols", "mochabench").stdout
    assert "min_track = 50" in said and "congwei1230/MoChaBench" in said
    assert json.loads(lipscore_("protocols", "latentsync", "--json").stdout)["reduce"] == "mean_offset"
    assert lipscore_("protocols", "none").exit_code == 2


def test_weights_are_listed_and_verified(here: Path, kit_weights: Path) -> None:
    result = lipscore_("weights", "list")
    assert result.exit_code == 0 and result.stdout.count("missing") == 2
    assert lipscore_("weights", "verify").exit_code == 3
    result = lipscore_("weights", "verify", "--weights-dir", kit_weights)
    assert result.exit_code == 3 and result.stdout.count("is not the published file") == 2
    result = lipscore_("weights", "fetch")
    assert result.exit_code == 3 and "LIPSCORE_OFFLINE" in result.stderr


def test_unverified_weights_are_named_in_the_manifest(here: Path, clip: Path, kit_weights: Path) -> None:
    videos_in(here / "in", clip, "a.mp4")
    arguments = ("score", "in", "--protocol", "wav2lip-lrs", "--model", "vgg", "--weights-dir", kit_weights)
    assert lipscore_(*arguments).exit_code == 3
    result = lipscore_(*arguments, *KEPT, "--allow-unverified")
    assert result.exit_code == 0, result.stderr
    assert "not verified" in result.stderr and "comparable=false" in result.stdout
    run = json.loads((here / "eval" / "results" / "run.json").read_text())
    assert run["weights"][0]["verified"] is False and run["model"] == "vgg"


def on_terminal(arguments: list[str], folder: Path, **environment: str) -> str:
    """What a command writes to a terminal on both of its outputs."""
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment}
    child = subprocess.Popen(arguments, stdin=follower, stdout=follower, stderr=follower, cwd=folder, env=env)
    os.close(follower)
    said = b""
    while True:
        try:
            block = os.read(leader, 4096)
        except OSError:  # the other side is closed
            break
        if not block:
            break
        said += block
    os.close(leader)
    assert child.wait(60) == 0, said
    return said.decode(errors="replace")


def test_a_terminal_gets_a_bar_and_colour_unless_no_color(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4")
    arguments = process("score", "in", *DIRECT, "--no-resume")
    said = on_terminal(arguments, here, NO_COLOR="")
    assert ESCAPE in said and "0/1" in said and "[1/1] a: 1 track" in said
    said = on_terminal(arguments, here, NO_COLOR="1")
    assert ESCAPE not in said and "[1/1] a: 1 track" in said


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_cleans_up_and_goes_on(here: Path, clip: Path, signum: signal.Signals, status: int) -> None:
    videos_in(here / "in", clip, *(f"{k:02}.mp4" for k in range(40)))
    scratch = here / "scratch"
    scratch.mkdir()
    env = {**os.environ, "TMPDIR": str(scratch)}
    arguments = process("score", "in", *DIRECT, "--out", "out")
    child = subprocess.Popen(arguments, cwd=here, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("[2/40]"):
            break
    child.send_signal(signum)
    out, err = child.communicate(timeout=60)
    assert child.returncode == status, err
    assert "interrupted" in err and "Traceback" not in err
    assert list(scratch.iterdir()) == []
    done, problems = read_records(here / "out" / "scores.jsonl")
    assert 2 <= len(done) < 40 and not problems
    assert len(read_scores(here / "out" / "all_scores.txt").rows) == len(done)
    run = json.loads((here / "out" / "run.json").read_text())
    assert run["interrupted"] is True and run["not_reached"] == 40 - len(done)
    assert f"{len(done)} scored / 40 total" in out
    for path in sorted((here / "in").iterdir())[len(done) + 1 :]:
        path.unlink()
    result = lipscore_("score", "in", *DIRECT, "--out", "out")
    assert result.exit_code == 0 and result.stderr.count("scored before") == len(done)


def test_a_reader_that_leaves_is_no_error_of_ours(here: Path, clip: Path) -> None:
    videos_in(here / "in", clip, "a.mp4", "b.mp4")
    child = subprocess.Popen(
        process("score", "in", *DIRECT, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert b"Traceback" not in child.stderr.read()
    assert child.wait(60) == 141
    child.stderr.close()


def test_doctor_finds_the_rendered_offset(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    result = lipscore_("doctor")
    assert result.exit_code == 0, result.stdout
    assert "FAIL" not in result.stdout and "WARN  official weights" in result.stdout
    assert result.stdout.count("ok ") == 5 and re.search(r"with offset 4.*found [345],", result.stdout)
    assert not list(scratch.iterdir())

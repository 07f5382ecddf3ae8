"""What once ended in a traceback, or moved the terminal: each is a message and an exit status."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from lipscore.errors import MissingError, UsageError, WeightsError
from lipscore.eval.cli.main import app
from lipscore.eval.options import ModelOptions
from lipscore.eval.report.table.read import read_groups
from lipscore.eval.run.inputs.listing import read_manifest
from lipscore.eval.setup import load
from lipscore.eval.store.cells import cell, text_of
from lipscore.eval.store.records import Record, as_csv
from lipscore.eval.tools import doctor
from lipscore.media import ffmpeg
from lipscore.syncnet.models.mini import WEIGHTS, mini_sha256
from lipscore.syncnet.protocols import get_protocol
from lipscore.types import VideoScore
from lipscore.weights.fetch import Search


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert "Traceback" not in result.output and isinstance(result.exception, SystemExit | None), result.exception
    return result


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", ""), "the argument after 'score' is empty"),
        (("score", "in", "--out", ""), "the argument after 'score in --out' is empty"),
        (("score", "in", "--reference="), "the argument after 'score in' is empty"),
        (("score", "in", "--chunk", "inf"), "--chunk inf"),
        (("score", "in", "--chunk", "0"), "--chunk 0.0: must be more than 0"),
        (("score", "in", "--no-such\x1b[31m"), "--no-such"),
        (("score", "in", "--workers", "\x1b[2J"), "--workers"),
        (("score", "in", "--model", "\x1b[31m"), "--model \\u001b[31m: unknown choice"),
        (("gone\x1b[31m",), "gone"),
    ],
)
def test_wrong_usage_is_said_and_steers_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr and "\x1b[31m" not in result.stderr and "\x1b[2J" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("score", "a" * 300), 3),
        (("score", "a.mp4", "--detections", "a" * 300), 3),
        (("score", "a.mp4", "--reference", "a" * 300), 3),
        (("score", "a.mp4", "--out", "a" * 300), 3),
        (("average", "a" * 300), 3),
        (("compare", "a" * 300, "a" * 300), 3),
        (("report", "a" * 300, "--out", "r.html"), 3),
        (("table", f"x={'a' * 300}"), 3),
        (("filter", "a.mp4", "-o", "a" * 300), 3),
    ],
)
def test_over_long_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], status: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_text("no video")
    result = run(*arguments)
    assert result.exit_code == status and "a" * 300 in result.stderr.replace("\n", ""), result.output


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: object) -> None:
        raise KeyError("no such user")

    for name in ("HOME", "XDG_CACHE_HOME", "LIPSCORE_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert Search.from_environment().cache.parts[-2:] == (f"cache-{os.getuid()}", "lipscore")


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LIPSCORE_FFMPEG", "/bin/false")
    for known in (ffmpeg.ffmpeg_path, ffmpeg.ffmpeg_version):
        known.cache_clear()
    yield
    for known in (ffmpeg.ffmpeg_path, ffmpeg.ffmpeg_version):
        known.cache_clear()


def test_another_program_in_place_of_ffmpeg(no_ffmpeg: None, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    result = run("score", str(tmp_path / "a.mp4"), "--model", "mini", "--protocol", "wav2lip-lrs")
    assert result.exit_code == 3 and "/bin/false: does not run as FFmpeg does" in result.stderr


@pytest.mark.parametrize(
    ("closed", "status"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), (">/dev/full", 3), ("2>/dev/full", 0)]
)
def test_outputs_that_are_closed_or_full(tmp_path: Path, closed: str, status: int) -> None:
    (tmp_path / "scores.txt").write_text("7 6\n")
    command = f'exec "$0" -m lipscore.eval average scores.txt {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status and "Traceback" not in done.stderr
    assert ("No space left on device" in done.stderr) == (status == 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inherit = []", "inherit = [] is not a named protocol"),
        ("name = 5", "name = 5 is not text"),
        ('name = ""', "name = '' is not text"),
        ("about = [1]", "about = [1] is not text"),
        ("crop_scale = nan", "crop_scale = nan"),
    ],
)
def test_a_protocol_file_of_the_wrong_kinds(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        get_protocol(str(path))
    assert said in str(caught.value)


NAMES = ["=1+1", "+a", "-dash", "@b", "'=c", "'tis", "plain", "''-d", "\t=e"]


@given(st.text())
def test_a_cell_is_no_formula_and_reads_back(text: str) -> None:
    written = cell(text)
    assert written[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n") or not text
    assert text_of(written) == text


def test_names_in_csv_files_are_no_formulas(tmp_path: Path) -> None:
    records = [Record(VideoScore(f"./{name}.mp4", name, "", "no_face", "", "wav2lip", "vgg", True)) for name in NAMES]
    lines = as_csv(records).decode().split("\n")[1:-1]
    assert [line.split(",")[1].strip('"')[0] for line in lines] == ["'"] * 6 + ["p", "'", "'"]
    column = [line.split(",")[1] for line in lines]
    (tmp_path / "groups.csv").write_text("name,kind\n" + "".join(f"{name},x\n" for name in column))
    assert read_groups(tmp_path / "groups.csv") == {"kind": {"x": set(NAMES)}}
    (tmp_path / "manifest.csv").write_text("name,video\n" + "".join(f"{name},v.mp4\n" for name in column))
    assert [job.name for job in read_manifest(tmp_path / "manifest.csv")] == NAMES


def test_doctor_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> tuple[doctor.State, str]:
        raise MissingError("no device")

    monkeypatch.setattr(doctor, "_clip", lambda: ("WARN", "found 5"))
    monkeypatch.setattr(doctor, "_weights", lambda: ("ok", "all there"))
    result = run("doctor", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["exit_status"]) == (0, 0)
    assert [check["name"] for check in found["checks"]] == ["versions", "ffmpeg", "device", "weights", "mini", "clip"]
    assert found["checks"][-1] == {"name": "clip", "state": "WARN", "text": "found 5", "exit_status": 0}
    assert "WARN  found 5" in result.stderr
    monkeypatch.setattr(doctor, "_device", missing)
    result = run("doctor", "--json")
    assert (result.exit_code, json.loads(result.stdout)["exit_status"]) == (3, 3)
    monkeypatch.setattr(doctor, "_device", lambda: ("FAIL", "broken"))
    assert run("doctor").exit_code == 1


def test_an_output_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("precious")
    for command in ("visualise", "fix"):
        result = run(command, str(tmp_path / "in.mp4"), "--out", str(tmp_path / "out.mp4"))
        assert result.exit_code == 2 and "exists already; give --overwrite" in result.stderr
    assert (tmp_path / "out.mp4").read_text() == "precious"


def test_options_that_do_nothing_under_mini_are_said() -> None:
    for options in (ModelOptions("mini", fast=True), ModelOptions("mini", precision="bf16")):
        assert "have no effect" in load(options, get_protocol("wav2lip")).note
    assert load(ModelOptions("mini", precision="fp32"), get_protocol("wav2lip")).note == ""


def test_weights_that_train_mini_wrote_can_score(tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    with safe_open(WEIGHTS, framework="pt") as file:
        tensors, numbers = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors, own, {**numbers, "trained": "here"})
    protocol = get_protocol("wav2lip")
    loaded = load(ModelOptions("mini", mini_weights=own), protocol)
    (file_, *_) = loaded.weights_record()
    assert (file_["name"], file_["built_in"]) == ("own.safetensors", False)
    assert file_["sha256"] == hashlib.sha256(own.read_bytes()).hexdigest() != mini_sha256()
    assert loaded.changed == ("mini with the weights own.safetensors",)
    assert load(ModelOptions("mini"), protocol).changed == ()
    own.write_text("no weights")
    with pytest.raises(WeightsError, match=r"own\.safetensors: not the built-in model's weights"):
        load(ModelOptions("mini", mini_weights=own), protocol)
    with pytest.raises(UsageError, match="give --model mini"):
        ModelOptions("vgg", mini_weights=own)

"""entrypoint.sh and run_commands.sh, run as they are in a folder laid out as in the image, lipscore replaced.

The stand-in writes down how it was called: what the scripts decide is which command runs, and how all ends. What needs
mounts and users is in tests/image.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# appends "NAME ARGUMENTS", then runs what the test wants of that command
STAND_IN = """#!/bin/bash
echo "lipscore $*" >>"$CALLS"
case "$1" in
score) eval "${ON_SCORE:-:}" ;;
average) eval "${ON_AVERAGE:-:}" ;;
*) eval "${ON_OTHER:-:}" ;;
esac
"""


@dataclass
class App:
    """The folder that is /app in the image; before: what is put before the command."""

    home: Path
    calls: Path
    environment: dict[str, str]
    before: tuple[str, ...] = ()

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """The entrypoint in a process group of its own, which is what the image's tini signals."""
        return subprocess.Popen(
            [*self.before, str(self.home / "entrypoint.sh"), *arguments],
            env=self.environment | environment,
            cwd="/",
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """(exit status, standard output, standard error)."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def called(self) -> list[str]:
        """What lipscore was called with."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def app(tmp_path: Path) -> App:
    home, programs, temporary = tmp_path / "app", tmp_path / "bin", tmp_path / "tmp"
    for folder in (home / "eval" / "data", home / "eval" / "results", home / "tmp", programs, temporary):
        folder.mkdir(parents=True)
    for name in ("entrypoint.sh", "run_commands.sh"):
        shutil.copy(ROOT / name, home)
    (programs / "lipscore").write_text(STAND_IN)
    (programs / "lipscore").chmod(0o755)
    (home / "eval" / "data" / "a.mp4").touch()
    (home / "all_scores.txt").touch()
    calls = tmp_path / "calls"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(calls), "TMPDIR": str(temporary)}
    return App(home, calls, environment)


def test_without_arguments_it_scores_and_averages(app: App) -> None:
    status, out, err = app.run(ON_SCORE="echo table", ON_AVERAGE='echo "avg. LSE-D: 7.0"; pwd')
    assert (status, err) == (0, "")
    assert out.splitlines() == ["table", "avg. LSE-D: 7.0", str(app.home)]
    assert app.called() == [
        "lipscore score eval/data --scores-file all_scores.txt --out eval/results",
        "lipscore average all_scores.txt",
    ]


def test_with_arguments_it_is_lipscore(app: App) -> None:
    (app.home / "eval" / "data" / "a.mp4").unlink()  # no concern of `protocols`
    status, out, _ = app.run("protocols", "wav2lip --json", ON_OTHER='echo "$PWD:$#:$2"; exit 42')
    assert (status, out) == (42, "/:2:wav2lip --json\n")
    assert app.called() == ["lipscore protocols wav2lip --json"]


@pytest.mark.parametrize(
    ("asked", "mounts", "given"),
    [
        ("eval/data", (), ""),
        ("eval/data", ("all_scores.txt",), "--scores-file {home}/all_scores.txt "),
        ("eval/data", ("eval/results",), "--out {home}/eval/results "),
        ("eval/data", ("tmp", "all_scores.txt"), "--out {home}/tmp --scores-file {home}/all_scores.txt "),
        ("eval/data --out=x", ("eval/results", "all_scores.txt"), ""),
        ("eval/data -o x", ("eval/results",), ""),
        ("eval/data --scores-file x", ("eval/results", "all_scores.txt"), ""),
    ],
)
def test_score_with_arguments_writes_into_what_is_mounted(
    app: App, asked: str, mounts: tuple[str, ...], given: str
) -> None:
    binds = "".join(f"mount --bind '{app.home}/{name}' '{app.home}/{name}' && " for name in mounts)
    app.before = ("unshare", "-m", "sh", "-c", f'{binds}exec "$@"', "sh")
    if subprocess.run([*app.before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    status, _, err = app.run("score", *asked.split())
    assert (status, err, app.called()) == (0, "", [f"lipscore score {given.format(home=app.home)}{asked}"])


@pytest.mark.parametrize(
    ("score", "average", "status", "averaged"),
    [(0, 0, 0, True), (1, 0, 1, True), (0, 1, 1, True), (2, 0, 2, False), (3, 0, 3, False), (130, 0, 130, False)],
)
def test_exit_statuses_come_through(app: App, score: int, average: int, status: int, averaged: bool) -> None:
    assert app.run(ON_SCORE=f"exit {score}", ON_AVERAGE=f"exit {average}")[0] == status
    assert ("lipscore average all_scores.txt" in app.called()) == averaged


def test_a_run_commands_of_ones_own_runs_executable_or_not(app: App) -> None:
    script = app.home / "run_commands.sh"
    script.write_text("[[ -f eval/data/a.mp4 ]] && echo mine; exit 7\n")
    for mode in (0o644, 0o755):
        script.chmod(mode)
        assert app.run()[:2] == (7, "mine\n")


@pytest.mark.parametrize("arguments", [(), ("score", "eval/data")])
def test_a_directory_in_place_of_the_scores(app: App, arguments: tuple[str, ...]) -> None:
    (app.home / "all_scores.txt").unlink()
    (app.home / "all_scores.txt").mkdir()
    status, _, err = app.run(*arguments)
    assert status == 3
    assert f"{app.home}/all_scores.txt is a directory: the host had no such file" in err
    assert "rmdir all_scores.txt" in err
    assert not app.called()


@pytest.mark.parametrize("left", [[], [".gitkeep"], ["reference/a.mp4"]])
def test_nothing_to_score(app: App, left: list[str]) -> None:
    (app.home / "eval" / "data" / "a.mp4").unlink()
    for name in left:
        (app.home / "eval" / "data" / name).parent.mkdir(exist_ok=True)
        (app.home / "eval" / "data" / name).touch()
    status, _, err = app.run()
    assert status == 3
    assert f"{app.home}/eval/data is empty" in err
    assert not app.called()


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [("all_scores.txt", 0o444, "is not writable"), ("eval/data", 0o300, "is not readable")],
)
def test_missing_permissions_are_reported(app: App, name: str, mode: int, said: str) -> None:
    (app.home / name).chmod(mode)
    if os.geteuid() == 0:  # root may read and write everything, unless it gives that up
        app.before = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    status, _, err = app.run()
    (app.home / name).chmod(0o755)
    assert status == 3
    assert f"{name} {said} for user {os.geteuid()}" in err


def test_no_temporary_folder(app: App, tmp_path: Path) -> None:
    status, _, err = app.run(TMPDIR=str(tmp_path / "nowhere"))
    assert status == 3
    assert "add --tmpfs /tmp" in err


def test_unverified_weights_are_reported_and_allowed(app: App) -> None:
    _, _, err = app.run(LIPSCORE_ALLOW_UNVERIFIED="1")
    assert "not the published ones" in err
    assert app.called()[0].endswith("--out eval/results --allow-unverified")


def test_results_go_where_they_are_wanted(app: App) -> None:
    app.run(LIPSCORE_OUT="/else where")
    assert app.called()[0].endswith("--out /else where")
    shutil.rmtree(app.home / "eval" / "results")
    app.run()
    assert app.called()[2].endswith(f"--out {app.environment['TMPDIR']}/lipscore-results")


@pytest.mark.parametrize("arguments", [(), ("score", "eval/data")])
def test_sigterm_waits_for_lipscore_and_ends_as_such(app: App, arguments: tuple[str, ...]) -> None:
    process = app.start(*arguments, ON_SCORE="trap 'echo kept; exit 143' TERM; echo ready; sleep 60 & wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)  # between `ready` and `wait`
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "kept\n"
    assert process.returncode == 143
    assert "lipscore average all_scores.txt" not in app.called()

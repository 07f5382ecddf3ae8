"""Temporary folders: gone with their block, and gone in the next run where a process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lipscore.errors import MissingError
from lipscore.media import ffmpeg
from lipscore.media.files.scratch import OWNER, locked_folder, scratch, sweep

HOLD = """
import sys, time
from lipscore.media.files.scratch import scratch
with scratch() as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_a_folder_ends_with_its_block_and_is_not_swept_before(tmp_path: Path) -> None:
    with locked_folder(tmp_path, "lipscore-") as folder:
        (folder / "crops.avi").touch()
        assert str(os.getpid()) in (folder / OWNER).read_text()
        assert sweep(tmp_path) == [] and (folder / "crops.avi").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stranger = tmp_path / "lipscore-of-something-else"
    stranger.mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        (left / "video.avi").touch()
        with scratch():
            assert left.exists(), "another run's folder is in use"
        process.send_signal(signal.SIGKILL)
    assert left.exists()
    assert sweep(tmp_path) == [left]
    assert list(tmp_path.iterdir()) == [stranger]


def test_no_place_for_temporary_files_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(MissingError, match="TMPDIR"), scratch():
        pass


@pytest.mark.skipif(not ffmpeg._dying_along(), reason="no setpriv that knows --pdeathsig")
def test_ffmpeg_dies_with_its_parent() -> None:
    run = """
from lipscore.media import ffmpeg
with ffmpeg.started(ffmpeg.ffmpeg_command(["-re", "-f", "lavfi", "-i", "sine", "-f", "null", "-"])) as process:
    print(process.pid, flush=True)
    process.wait()
"""
    with subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        while b"ffmpeg" not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
            time.sleep(0.01)  # setpriv is still on its way to it
        parent.kill()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "\nState:\tZ" in Path(f"/proc/{child}/status").read_text():
            return
        time.sleep(0.1)
    pytest.fail("FFmpeg goes on")

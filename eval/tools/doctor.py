"""`lipscore doctor`: report the installation, and check that it finds a known offset."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from lipscore.demo.clips import render_clip
from lipscore.errors import LipscoreError
from lipscore.eval.options import ModelOptions, ProtocolOptions
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.store.manifest import environment
from lipscore.media import ffmpeg
from lipscore.pool import available_cores
from lipscore.runtime import pick_device
from lipscore.weights.fetch import Search, listing

SEED, SHIFT_FRAMES, TOLERANCE = 1, 4, 1  # frames


def examine(say: Callable[[str], object]) -> int:
    """Report each check in a line; returns the exit status: 0 all passed, 1 a wrong offset, 3 something is missing."""
    checks: tuple[Callable[[], tuple[bool, str]], ...] = (_versions, _ffmpeg, _device, _weights, _clip)
    status = 0
    for check in checks:
        try:
            well, text = check()
            worst = 1
        except LipscoreError as error:
            well, text, worst = False, str(error), error.exit_status
        say(f"{'ok  ' if well else 'FAIL'}  {text}")
        status = status if well else max(status, worst)
    return status


def _versions() -> tuple[bool, str]:
    found = environment()
    git = found["git"]
    revision = f" at {git['revision'][:12]}{' with changes' if git['dirty'] else ''}" if git else ""
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return None not in found["packages"].values(), (
        f"lipscore {found['lipscore']}{revision}, Python {found['python']}, {packages}"
    )


def _ffmpeg() -> tuple[bool, str]:
    named = bool(os.environ.get("LIPSCORE_FFMPEG"))
    remark = ", which LIPSCORE_FFMPEG names: numbers may differ from published ones" if named else ""
    return True, f"FFmpeg {ffmpeg.ffmpeg_version()} ({ffmpeg.ffmpeg_path()}{remark})"


def _device() -> tuple[bool, str]:
    device = pick_device("auto")
    return True, f"device {device}, {available_cores()} CPU cores"


def _weights() -> tuple[bool, str]:
    """Missing official weights are not a failure, because the built-in model scores without them."""
    found = listing(Search.from_environment())
    said = []
    for published, file in found:
        state = "missing (lipscore weights fetch)" if file is None else "verified" if file.verified else "NOT VERIFIED"
        said.append(f"{published.name} {state}")
    return all(file is None or file.verified for _, file in found), f"official weights: {', '.join(said)}"


def _clip() -> tuple[bool, str]:
    setup = Setup.load(ProtocolOptions("lipscore-1"), ModelOptions("mini"))
    with tempfile.TemporaryDirectory(prefix="lipscore-") as folder:
        clip = Path(folder) / "clip.mp4"
        render_clip(clip, seed=SEED, shift_frames=SHIFT_FRAMES)
        found = score_video(clip, setup)
    what = f"a rendered clip with offset {SHIFT_FRAMES}, built-in model, protocol {setup.protocol.name}"
    if found.offset is None:
        return False, f"{what}: {found.status}: {found.reason}"
    return abs(found.offset - SHIFT_FRAMES) <= TOLERANCE, f"{what}: found {found.offset}, LSE-C {found.lse_c:.2f}"

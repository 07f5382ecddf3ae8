"""`lipscore doctor`: report the installation, and check that it finds a known offset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from lipscore.demo.clips import render_clip
from lipscore.errors import LipscoreError
from lipscore.eval.options import ModelOptions, ProtocolOptions
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.store.manifest import environment
from lipscore.media import ffmpeg
from lipscore.media.files.scratch import scratch
from lipscore.pool import available_cores
from lipscore.runtime import pick_device
from lipscore.weights.fetch import Search, listing

State = Literal["ok", "WARN", "FAIL"]
SEED, SHIFT_FRAMES, TOLERANCE = 1, 4, 1  # frames


def examine(say: Callable[[str], object]) -> int:
    """Say what was found, line by line.

    Returns:
        The exit status: 0 nothing fails (WARN is for what works, but not as measured), 1 a check fails, 3 something is
        missing.
    """
    checks: tuple[Callable[[], tuple[State, str]], ...] = (_versions, _ffmpeg, _device, _weights, _clip)
    status = 0
    for check in checks:
        try:
            state, text = check()
            worst = 1
        except LipscoreError as error:
            state, text, worst = "FAIL", str(error), error.exit_status
        say(f"{state:<4}  {text}")
        status = max(status, worst) if state == "FAIL" else status
    return status


def _versions() -> tuple[State, str]:
    found = environment()
    git = found["git"]
    revision = f" at {git['revision'][:12]}{' with changes' if git['dirty'] else ''}" if git else ""
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return "FAIL" if None in found["packages"].values() else "ok", (
        f"lipscore {found['lipscore']}{revision}, Python {found['python']}, {packages}"
    )


def _ffmpeg() -> tuple[State, str]:
    if notes := ffmpeg.build_notes():
        return "WARN", notes[0]
    return "ok", f"FFmpeg {ffmpeg.ffmpeg_version()} ({ffmpeg.ffmpeg_path()})"


def _device() -> tuple[State, str]:
    device = pick_device("auto")
    return "ok", f"device {device}, {available_cores()} CPU cores"


def _weights() -> tuple[State, str]:
    """Without official weights the built-in model scores, whose numbers are estimates."""
    found = listing(Search.from_environment())
    said = []
    for published, file in found:
        state = "missing (lipscore weights fetch)" if file is None else "verified" if file.verified else "NOT VERIFIED"
        said.append(f"{published.name} {state}")
    lacking = any(file is None for _, file in found)
    wrong = any(file is not None and not file.verified for _, file in found)
    return "FAIL" if wrong else "WARN" if lacking else "ok", f"official weights: {', '.join(said)}"


def _clip() -> tuple[State, str]:
    setup = Setup.load(ProtocolOptions("lipscore-1"), ModelOptions("mini"))
    with scratch() as folder:
        clip = folder / "clip.mp4"
        render_clip(clip, seed=SEED, shift_frames=SHIFT_FRAMES)
        found = score_video(clip, setup)
    what = f"a rendered clip with offset {SHIFT_FRAMES}, built-in model, protocol {setup.protocol.name}"
    if found.offset is None:
        return "FAIL", f"{what}: {found.status}: {found.reason}"
    off = abs(found.offset - SHIFT_FRAMES)
    state: State = "ok" if not off else "WARN" if off <= TOLERANCE else "FAIL"
    return state, f"{what}: found {found.offset}, LSE-C {found.lse_c:.2f}"

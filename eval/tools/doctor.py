"""`lipscore doctor`: report the installation, and check that it finds a known offset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from lipscore.syncnet.models.mini import held_out_figures
from lipscore.weights.fetch import Search, listing

State = Literal["ok", "WARN", "FAIL"]
SEED, SHIFT_FRAMES, TOLERANCE = 1, 4, 1  # frames


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. exit_status: 1 for a FAIL, or 3 if something is missing; else 0."""

    name: str
    state: State
    text: str
    exit_status: int = 0


def examine(say: Callable[[str], object]) -> list[Check]:
    """Check the installation, and report the results line by line.

    WARN means that something works but differs from the measured setup: the official weights are missing, FFmpeg is
    another build, or the offset of the rendered clip is one frame off.

    Args:
        say: called with each line.
    """
    checks: dict[str, Callable[[], tuple[State, str]]] = {
        "versions": _versions,
        "ffmpeg": _ffmpeg,
        "device": _device,
        "weights": _weights,
        "mini": _mini,
        "clip": _clip,
    }
    found = []
    for name, check in checks.items():
        try:
            state, text = check()
            done = Check(name, state, text, int(state == "FAIL"))
        except LipscoreError as error:
            done = Check(name, "FAIL", str(error), error.exit_status)
        say(f"{done.state:<4}  {done.text}")
        found.append(done)
    return found


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
    """The state of the official weights; without them, the built-in model scores, whose numbers are estimates."""
    found = listing(Search.from_environment())
    said = []
    for published, file in found:
        state = "missing (lipscore weights fetch)" if file is None else "verified" if file.verified else "NOT VERIFIED"
        said.append(f"{published.name} {state}")
    lacking = any(file is None for _, file in found)
    wrong = any(file is not None and not file.verified for _, file in found)
    return "FAIL" if wrong else "WARN" if lacking else "ok", f"official weights: {', '.join(said)}"


def _mini() -> tuple[State, str]:
    figures = held_out_figures()
    return "ok", (
        f"built-in model, {figures['clips']} held-out clips: offset within a frame in {figures['within_1']:.1%}, "
        f"LSE-C estimates off by {figures['lse_c_mae']:.2f} on average"
    )


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

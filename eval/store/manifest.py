"""run.json: everything one needs to know to make a run's numbers again, and what they came to."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import lipscore
from lipscore.media import ffmpeg
from lipscore.media.aside import replace_whole

PACKAGES = ("torch", "numpy", "opencv-python-headless", "av", "imageio-ffmpeg", "scenedetect", "scipy", "dlib-bin")
SCHEMA = 1


def environment() -> dict[str, Any]:
    """lipscore's own version and revision, and the versions of what the numbers depend on."""
    home = Path(lipscore.__file__).resolve().parents[2]
    # in a wheel these are not lipscore's folders, and a repository around them is not lipscore's
    revision = git_revision(home) if (home / "src" / "lipscore").is_dir() else None
    return {
        "lipscore": lipscore.__version__,
        "git": {"revision": revision[0], "dirty": revision[1]} if revision else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "ffmpeg": {"version": ffmpeg.ffmpeg_version(), "overridden": bool(os.environ.get("LIPSCORE_FFMPEG"))},
    }


def git_revision(folder: Path) -> tuple[str, bool] | None:
    """(the commit that a checkout is at, whether it has changes not in it); None where there is no checkout."""
    git = ["git", "-C", str(folder), "--no-optional-locks"]
    if not (folder / ".git").exists():
        return None
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git here, or a checkout that belongs to another user
        return None
    return head, bool(changes.strip())


def version(package: str) -> str | None:
    """An installed distribution's version, None where it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def write_manifest(
    path: Path,
    setup: Mapping[str, Any],
    *,
    command: Sequence[str],
    times: tuple[str, str],
    interrupted: bool,
    resumed: int,
    counts: Mapping[str, Any],
) -> None:
    """Write run.json in one step.

    Args:
        setup: protocol, model, detector, weights, device, options and settings hash, as `Setup.as_record` gives them.
        command: the command line; empty for a run that Python started.
        times: start and end, ISO 8601, UTC.
        resumed: how many records came from an earlier run.
        counts: as `summary.as_json` gives them.

    Raises:
        MissingError: it cannot be written.
    """
    content = {
        "schema": SCHEMA,
        **environment(),
        "command": list(command),
        "started": times[0],
        "finished": times[1],
        "interrupted": interrupted,
        **setup,
        "resumed": resumed,
        **counts,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_whole(path, text.encode(errors="backslashreplace"))

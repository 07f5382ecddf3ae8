"""run.json: the information that reproduces a run's numbers, and a summary of the numbers."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import lipscore
from lipscore.media import ffmpeg
from lipscore.media.files.aside import replace_whole

PACKAGES = ("torch", "numpy", "opencv-python-headless", "av", "imageio-ffmpeg", "scenedetect", "scipy", "dlib-bin")
DECIDING = ("torch", "opencv-python-headless", "av", "dlib-bin")  # each decodes or computes what a score is made of
SCHEMA = 1


def environment() -> dict[str, Any]:
    """lipscore's version and revision, and the versions of the packages that decide the numbers."""
    revision = _own_revision()
    return {
        "lipscore": lipscore.__version__,
        "git": {"revision": revision[0], "dirty": revision[1]} if revision else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "ffmpeg": {"version": ffmpeg.ffmpeg_version(), "overridden": bool(os.environ.get("LIPSCORE_FFMPEG"))},
    }


def deciding_versions() -> dict[str, Any]:
    """The revision and the packages that can change a score; different builds of one torch version count as equal."""
    revision = _own_revision()
    packages = {name: (version(name) or "").partition("+")[0] or None for name in DECIDING}
    return {"revision": revision[0] if revision else None, "packages": packages}


@lru_cache(maxsize=1)
def _own_revision() -> tuple[str, bool] | None:
    home = Path(lipscore.__file__).resolve().parents[2]
    # in a wheel these are not lipscore's folders, and a repository around them is not lipscore's
    return git_revision(home) if (home / "src" / "lipscore").is_dir() else None


def git_revision(folder: Path) -> tuple[str, bool] | None:
    """(the checkout's commit, whether it has uncommitted changes); None outside a checkout."""
    git = ["git", "-C", str(folder), "--no-optional-locks"]
    if not (folder / ".git").exists():
        return None
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # git is missing, or the checkout belongs to another user
        return None
    return head, bool(changes.strip())


def version(package: str) -> str | None:
    """An installed distribution's version, or None."""
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
        setup: protocol, model, detector, weights, device, options and settings hash, from `Setup.as_record`.
        command: the command line; empty for a run started from Python.
        times: start and end, ISO 8601, UTC.
        resumed: the number of records from earlier runs.
        counts: from `summary.as_json`.

    Raises:
        MissingError: the file cannot be written.
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

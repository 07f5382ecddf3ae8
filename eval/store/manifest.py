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
from lipscore.eval.models import Models
from lipscore.media import ffmpeg
from lipscore.media.aside import replace_whole
from lipscore.syncnet import protocols

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
    *,
    protocol: protocols.Protocol,
    models: Models,
    options: Mapping[str, Any],
    settings: str,
    command: Sequence[str],
    times: tuple[str, str],
    interrupted: int | None,
    resumed: int,
    counts: Mapping[str, Any],
) -> None:
    """Write run.json in one step.

    Args:
        options: those that decide numbers and are no part of the protocol; settings: the hash that the records bear.
        times: start and end, ISO 8601, UTC.
        counts: of `summary.as_json`.

    Raises:
        MissingError: it cannot be written.
    """
    content = {
        "schema": SCHEMA,
        **environment(),
        "command": list(command),
        "started": times[0],
        "finished": times[1],
        "interrupted": interrupted is not None,
        "protocol": protocols.as_record(protocol),
        "model": models.embedder.name,
        "detector": "none" if protocol.direct else models.detector,
        "changed": [*protocol.changed, *models.changed],
        "comparable": models.comparable(protocol),
        "weights": weights_of(models),
        "device": describe_device(models),
        "options": dict(options),
        "settings": settings,
        "resumed": resumed,
        **counts,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_whole(path, text.encode(errors="backslashreplace"))


def weights_of(models: Models) -> list[dict[str, Any]]:
    """The weight files in use, the built-in model's among them."""
    if models.embedder.name == "mini":
        from lipscore.syncnet.mini import WEIGHTS, mini_sha256

        return [{"name": WEIGHTS.name, "path": str(WEIGHTS), "sha256": mini_sha256(), "built_in": True}]
    return [
        {"name": file.name, "path": str(file.path), "sha256": file.sha256, "verified": file.verified}
        for file in models.weights
    ]


def describe_device(models: Models) -> dict[str, Any]:
    """The device by name, and on a CPU how many cores this process may use."""
    import torch

    from lipscore.pool import available_cores

    if models.device.type == "cuda":
        return {
            "name": str(models.device),
            "gpu": torch.cuda.get_device_name(models.device),
            "cuda": torch.version.cuda,
        }
    return {"name": str(models.device), "cores": available_cores()}

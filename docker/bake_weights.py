"""What the Dockerfile's weights stage runs: the official weight files into the image, checked by SHA-256.

It needs lipscore.errors and lipscore.weights.fetch and nothing else of lipscore, so that a change elsewhere leaves
the stage cached.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path

from lipscore.errors import LipscoreError, UsageError, WeightsError
from lipscore.weights import catalogue, fetch


def bake(mode: str, context: Path, out: Path, allow_unverified: bool) -> None:
    """Put the weight files into `out`, from `context` where they are there, else fetched; with mode "none", no file.

    Raises:
        UsageError: no such mode.
        WeightsError: a file cannot be had, is not the published one (unless that is allowed), or cannot be loaded.
    """
    if mode not in ("fetch", "none"):
        raise UsageError(f"WEIGHTS={mode}: give fetch or none")
    out.mkdir(parents=True, exist_ok=True)
    if mode == "none":
        print("WEIGHTS=none: no official weights in this image; it scores with model=mini", flush=True)
        return
    search = fetch.Search.from_environment()
    supplied = dataclasses.replace(search, folders=(context,))
    for name in catalogue.PUBLISHED:
        file = fetch.obtain(name, supplied)
        try:
            fetch.load_state_dict(file, search, allow_unverified)
        except WeightsError as error:
            raise WeightsError(f"{error} For an image: --build-arg ALLOW_UNVERIFIED=1.") from error
        shutil.copyfile(file.path, out / name)
        (out / name).chmod(0o644)
        origin = "weights/ of the build context" if file.path.parent == context else "its publishers"
        state = "SHA-256 verified" if file.verified else "NOT VERIFIED: not the published file, scores not comparable"
        print(f"{name}: from {origin}, SHA-256 {file.sha256}: {state}", flush=True)


def main() -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", required=True)
    parser.add_argument("--context", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--allow-unverified", action="store_true")
    options = parser.parse_args()
    try:
        bake(options.mode, options.context, options.out, options.allow_unverified)
    except LipscoreError as error:
        print(f"bake_weights: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())

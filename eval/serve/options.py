"""The options of `lipscore serve`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from lipscore.errors import MissingError, UsageError


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where the server listens, and its limits.

    folder: the folder whose videos can be picked on the page; None: uploads only. token: the token that requests must
    carry; "": none. max_mb: the largest video, in megabytes of 1,000,000 bytes. max_seconds: the time limit for a
    video. keep_seconds: how long a job is kept after its last change. max_waiting: the largest number of jobs.

    Raises:
        UsageError: a number is out of range.
        MissingError: the folder does not exist.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    folder: Path | None = None
    token: str = ""
    max_mb: int = 500
    max_seconds: float = 600.0
    keep_seconds: float = 900.0
    max_waiting: int = 50

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("max_mb", "max_seconds", "keep_seconds", "max_waiting"):
            if getattr(self, name) <= 0:
                raise UsageError.about(name, getattr(self, name), "must be more than 0")
        if not 0 <= self.port < 1 << 16:
            raise UsageError.about("port", self.port, "must be 0 (any free one) to 65535")
        if self.folder is not None and not self.folder.is_dir():
            raise MissingError(f"{self.folder}: no such folder; name one that contains videos")

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

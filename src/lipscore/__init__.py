"""LSE-D, LSE-C, offset, PSNR and SSIM of talking-head video.

    from lipscore import get_protocol, load_models, score_video

    protocol = get_protocol("wav2lip")
    record = score_video("talk.mp4", protocol, load_models("auto", protocol))

does what `lipscore score talk.mp4` does, and returns a `lipscore.types.VideoScore`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipscore.eval.models import Models, load_models
    from lipscore.eval.score import score_video
    from lipscore.syncnet.protocols import Protocol, get_protocol

__version__ = "0.1.0"
__all__ = ["Models", "Protocol", "get_protocol", "load_models", "score_video"]

_HOME = {
    "Models": "lipscore.eval.models",
    "load_models": "lipscore.eval.models",
    "score_video": "lipscore.eval.score",
    "Protocol": "lipscore.syncnet.protocols",
    "get_protocol": "lipscore.syncnet.protocols",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `import lipscore` and `lipscore --help` do not wait for torch."""
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

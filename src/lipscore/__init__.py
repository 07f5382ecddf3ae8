"""LSE-D, LSE-C, offset, PSNR and SSIM of talking-head video.

    import lipscore

    scorer = lipscore.Scorer.load("wav2lip")
    record = scorer.score("talk.mp4", reference="real.mp4")
    print(record.lse_d, record.lse_c, record.offset, record.psnr)

scores the video as `lipscore score talk.mp4` does, and returns a `lipscore.VideoScore`. docs/api.md describes the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipscore.errors import (
        DeviceError,
        LipscoreError,
        MediaError,
        MissingError,
        NotScoredError,
        UsageError,
        WeightsError,
    )
    from lipscore.eval.options import ModelOptions, ProtocolOptions, ReferenceOptions
    from lipscore.eval.scorer import Scorer, score_video
    from lipscore.eval.setup import Models, load_models
    from lipscore.eval.trace import Trace
    from lipscore.syncnet.protocols import PROTOCOLS, Protocol, get_protocol
    from lipscore.types import Alignment, ReferenceScore, Shot, TrackScore, VideoScore

__version__ = "0.2.0"

_HOME = {
    "lipscore.errors": (
        "DeviceError",
        "LipscoreError",
        "MediaError",
        "MissingError",
        "NotScoredError",
        "UsageError",
        "WeightsError",
    ),
    "lipscore.eval.options": ("ModelOptions", "ProtocolOptions", "ReferenceOptions"),
    "lipscore.eval.scorer": ("Scorer", "score_video"),
    "lipscore.eval.setup": ("Models", "load_models"),
    "lipscore.eval.trace": ("Trace",),
    "lipscore.syncnet.protocols": ("PROTOCOLS", "Protocol", "get_protocol"),
    "lipscore.types": ("Alignment", "ReferenceScore", "Shot", "TrackScore", "VideoScore"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = [
    "PROTOCOLS",
    "Alignment",
    "DeviceError",
    "LipscoreError",
    "MediaError",
    "MissingError",
    "ModelOptions",
    "Models",
    "NotScoredError",
    "Protocol",
    "ProtocolOptions",
    "ReferenceOptions",
    "ReferenceScore",
    "Scorer",
    "Shot",
    "Trace",
    "TrackScore",
    "UsageError",
    "VideoScore",
    "WeightsError",
    "get_protocol",
    "load_models",
    "score_video",
]


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that `import lipscore` and `lipscore --help` do not wait for torch."""
    if name in _MODULE_OF:
        from importlib import import_module

        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

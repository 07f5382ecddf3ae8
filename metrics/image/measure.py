"""The interface of image metrics: a function of a pair of frames, and the reduction of a video's pairs to one value.

A new metric is a module with such a function (or its own Measure) and an entry in `lipscore.metrics.catalogue`. torch
is imported when the first pair is measured, so that reading names and titles does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lipscore.types import Frame

if TYPE_CHECKING:
    from torch import Tensor

Planes = Literal["rgb", "luma"]
Window = Literal["wang", "skimage"]  # of SSIM; `lipscore.metrics.image.ssim` says what each is
MS_SSIM_LEAST_SIDE = 161  # pixels, so that the last of five scales still holds a window of 11
PEAK = 255.0  # the largest value of a pixel


class Images:
    """A generated frame and its reference, with a cache of values that several metrics share; not thread-safe.

    Args:
        generated, reference: uint8[H, W, 3] BGR of one size.
        device: the torch device that computes the metrics.
    """

    def __init__(self, generated: Frame, reference: Frame, device: str = "cpu") -> None:
        import torch

        self._planes = {"rgb": tuple(torch.from_numpy(one).unsqueeze(0).to(device) for one in (generated, reference))}
        self._errors: dict[Planes, float] = {}

    @property
    def least_side(self) -> int:
        """The shorter side in pixels."""
        return min(self._planes["rgb"][0].shape[1:3])

    def planes(self, planes: Planes) -> tuple[Tensor, Tensor]:
        """Both frames: uint8[1, H, W, 3] BGR ("rgb") or uint8[1, H, W] ("luma")."""
        if planes not in self._planes:
            from lipscore.metrics.image.luma import luma

            self._planes[planes] = tuple(luma(one) for one in self._planes["rgb"])
        generated, reference = self._planes[planes]
        return generated, reference

    def squared_error(self, planes: Planes) -> float:
        """The sum of squared differences over all pixel values, an integer."""
        if planes not in self._errors:
            from lipscore.metrics.image.psnr import squared_error

            self._errors[planes] = float(squared_error(*self.planes(planes))[0])
        return self._errors[planes]

    def mse(self, planes: Planes) -> float:
        """The mean squared error over all pixel values."""
        return self.squared_error(planes) / self.planes(planes)[0].numel()


class Measure(Protocol):
    """One metric over one video: call `look` per pair on any thread, `add` per pair in order, then `result`."""

    def look(self, images: Images) -> Any:
        """The values that the metric needs from a pair; must not change state, because pairs run in parallel."""
        ...

    def add(self, seen: Any) -> float | None:
        """Add a result of `look`; returns the pair's own value, or None if a single pair has none."""
        ...

    def result(self) -> float:
        """The video's value over all added pairs; call it after at least one `add`."""
        ...


class Mean:
    """A Measure: the mean of a function over the pairs."""

    def __init__(self, of: Callable[[Images], float]) -> None:
        self._of = of
        self._sum = 0.0
        self._n = 0

    def look(self, images: Images) -> float:
        """The pair's value."""
        return self._of(images)

    def add(self, seen: float) -> float:
        """Count the pair's value, and return it."""
        self._sum += seen
        self._n += 1
        return seen

    def result(self) -> float:
        """The mean."""
        return self._sum / self._n


@dataclass(frozen=True, slots=True)
class Variant:
    """One exact definition of an image metric.

    name: its key in a record's `reference.values`. measure: creates a new Measure for a video. unit: "dB" or "".
    least_side: the shorter side, in pixels, of the smallest usable frame. asked: computed only if all variants are
    requested.
    """

    name: str
    measure: Callable[[], Measure]
    unit: str = ""
    least_side: int = 1
    asked: bool = False

"""How an image metric is put: a function of a pair of frames, and what a video makes of the pairs' values.

A new metric is a module with such a function (or a Measure of its own) and an entry in `lipscore.metrics.catalogue`.
torch is imported when the first pair is measured: whoever reads names and titles only does not wait for it.
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
MS_SSIM_LEAST_SIDE = 161  # pixels: the last of five scales then still holds a window of 11
PEAK = 255.0  # the largest value of a pixel


class Images:
    """A generated frame and its reference, and what several metrics ask of them, computed once; for one thread.

    Args:
        generated, reference: uint8[H, W, 3] BGR of one size.
        device: where the metrics compute, as torch names it.
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
        """The sum of squared differences over all pixel values: a whole number."""
        if planes not in self._errors:
            from lipscore.metrics.image.psnr import squared_error

            self._errors[planes] = float(squared_error(*self.planes(planes))[0])
        return self._errors[planes]

    def mse(self, planes: Planes) -> float:
        """The mean squared error over all pixel values."""
        return self.squared_error(planes) / self.planes(planes)[0].numel()


class Measure(Protocol):
    """One metric over one video: `look` at each pair, on any thread; `add` what it saw, in order; then `result`."""

    def look(self, images: Images) -> Any:
        """What this metric needs of a pair; changes nothing, so that pairs may be looked at side by side."""
        ...

    def add(self, seen: Any) -> float | None:
        """Take in what `look` gave; returns the pair's own value, None where a single pair has none."""
        ...

    def result(self) -> float:
        """The video's value, over all pairs added: at least one."""
        ...


class Mean:
    """The mean over pairs of a function of a pair."""

    def __init__(self, of: Callable[[Images], float]) -> None:
        self._of = of
        self._sum = 0.0
        self._n = 0

    def look(self, images: Images) -> float:
        """The pair's value."""
        return self._of(images)

    def add(self, seen: float) -> float:
        """The pair's value, counted."""
        self._sum += seen
        self._n += 1
        return seen

    def result(self) -> float:
        """The mean."""
        return self._sum / self._n


@dataclass(frozen=True, slots=True)
class Variant:
    """One exact definition of an image metric, under the name that it has in a record's `reference.values`.

    measure makes a fresh Measure for a video; unit is what its numbers are in ("dB", or ""); least_side is the shorter
    side, in pixels, of the smallest pair that it takes; asked: computed only where every variant is asked for.
    """

    name: str
    measure: Callable[[], Measure]
    unit: str = ""
    least_side: int = 1
    asked: bool = False

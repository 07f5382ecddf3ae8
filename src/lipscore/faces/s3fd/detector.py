"""S3FD, the face detector behind the published LSE values (Zhang et al. 2017).

Network, thresholds and the two rounds of non-maximum suppression are those of github.com/joonson/syncnet_python at
6efbb1c, detectors/s3fd/ (nets.py, box_utils.py, __init__.py) and run_pipeline.py. docs/measures/faces.md lists the
steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from itertools import groupby
from threading import Lock
from typing import cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from lipscore.device import Batches, on_device, to_device, to_host
from lipscore.errors import WeightsError
from lipscore.faces.s3fd import packed, winograd
from lipscore.faces.s3fd.winograd_gpu import WinogradGpuConv
from lipscore.types import Detection, Frame

MEAN_RGB = (123.0, 117.0, 104.0)  # subtracted from 0-255; the network takes RGB
STEPS = (4, 8, 16, 32, 64, 128)  # a cell's side, per map, in pixels of the network's input
SIZES = (16, 32, 64, 128, 256, 512)  # a prior's side, likewise
VARIANCES = (0.1, 0.2)  # of centres and of sizes
CANDIDATE = 0.05  # minimum score for the inner suppression (exclusive)
CANDIDATES = 5000  # maximum number of boxes in the inner suppression: the best ones
INNER_IOU = 0.3  # the inner suppression drops boxes that overlap a better one by more than this
INNER_BOXES = 750  # maximum number of boxes after the inner suppression
FACE = 0.9  # minimum score of a face (exclusive)
OUTER_IOU = 0.1  # maximum overlap of two faces
HALVED, STEM = 5, 10  # layers up to each of the first two pools
STRIP = 1 << 21  # numbers that one of their convolutions puts out at a time
BATCH = {"cpu": 1, "cuda": 32}  # frames at a time, and on a GPU
GPU_PIXELS = 1 << 19  # of the network's input at a time: beyond, cuDNN takes transforms that want gigabytes
PLAIN = (2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # conv1_2 ... conv5_3: 3x3, stride and padding 1, wide
WIDE = (10, 12, 14, 17, 19, 21)  # conv3_1 ... conv4_3: where winograd.py saves most for the memory that it takes


class S3FDNet(nn.Module):
    """The network, its parameters named as in sfd_face.pth.

    Args:
        dilated: True for joonson/syncnet_python's network, whose fc6 is dilated and whose pool after conv3 rounds up;
            False for face_alignment's.
    """

    def __init__(self, dilated: bool = True) -> None:
        super().__init__()
        self.vgg = nn.ModuleList(_vgg(dilated))
        self.L2Norm3_3, self.L2Norm4_3, self.L2Norm5_3 = L2Norm(256), L2Norm(512), L2Norm(512)
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(1024, 256, 1),
                nn.Conv2d(256, 512, 3, stride=2, padding=1),
                nn.Conv2d(512, 128, 1),
                nn.Conv2d(128, 256, 3, stride=2, padding=1),
            ]
        )
        channels = (256, 512, 512, 1024, 512, 256)
        self.loc = nn.ModuleList([nn.Conv2d(n, 4, 3, padding=1) for n in channels])
        self.conf = nn.ModuleList([nn.Conv2d(n, 4 if k == 0 else 2, 3, padding=1) for k, n in enumerate(channels)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """float32[B, 3, H, W] -> offsets [B, P, 4], face scores [B, P], and each map's (rows, columns)."""
        sources = []
        x = self._stem(x)
        for k, module in enumerate(self.vgg[STEM:], STEM):
            x = module(x)
            if k == 15:
                sources.append(self.L2Norm3_3(x))
            elif k == 22:
                sources.append(self.L2Norm4_3(x))
            elif k == 29:
                sources.append(self.L2Norm5_3(x))
        sources.append(x)
        for k, conv in enumerate(self.extras):
            x = conv(x).relu_()
            if k % 2:
                sources.append(x)
        offsets, scores = [], []
        for k, source in enumerate(sources):
            heads = self._heads(k, source).float()
            offset, background, face = heads[..., :4], heads[..., 4:-1].amax(-1), heads[..., -1]
            offsets.append(offset.flatten(1, 2))
            scores.append(torch.stack([background, face], -1).softmax(-1)[..., 1].flatten(1))
        return torch.cat(offsets, 1), torch.cat(scores, 1), [(s.shape[2], s.shape[3]) for s in sources]

    def _stem(self, x: Tensor) -> Tensor:
        """The layers up to conv2's pool; on a CPU image by image and in strips, because their outputs are large."""
        blocks = self.vgg[:HALVED], self.vgg[HALVED:STEM]
        if x.is_cuda:
            return reduce(_through, blocks, x)
        return torch.cat([reduce(_in_strips, blocks, image) for image in torch.split(x, 1)])

    def _heads(self, k: int, source: Tensor) -> Tensor:
        """Both heads of a map as one convolution, which reads the map once: [B, rows, columns, 4 offsets + classes]."""
        loc, conf = cast(nn.Conv2d, self.loc[k]), cast(nn.Conv2d, self.conf[k])
        weight = torch.cat([loc.weight, conf.weight])
        bias = torch.cat([cast(Tensor, loc.bias), cast(Tensor, conf.bias)])
        return F.conv2d(source, weight, bias, padding=1).permute(0, 2, 3, 1)


def _settle(layers: nn.ModuleList, wide: Sequence[int]) -> None:
    """Replace each convolution and its ReLU by the form that is fastest on a CPU: Winograd's for the wide ones."""
    for k, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            layers[k] = winograd.WinogradConv(layer) if k in wide else packed.PackedConv(layer)
            layers[k + 1] = nn.Identity()


def _through(x: Tensor, layers: Iterable[nn.Module]) -> Tensor:
    return reduce(lambda held, layer: layer(held), layers, x)


def _in_strips(x: Tensor, layers: nn.ModuleList) -> Tensor:
    """Two 3x3 convolutions and their pool, in strips with a further pooled row above and below.

    These rows are affected by the strip's edge and are dropped, so the strips together equal the whole image's result.
    """
    rows = x.shape[2] // 2
    step = max(1, STRIP // (2 * x.shape[3] * cast(nn.Conv2d | packed.PackedConv, layers[0]).out_channels))
    strips = []
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        pooled = _through(x[:, :, max(0, 2 * top - 2) : 2 * bottom + 2], layers)
        strips.append(pooled[:, :, min(top, 1) :][:, :, : bottom - top])
    return torch.cat(strips, 2)


class L2Norm(nn.Module):
    """Scales each pixel's features to unit length, times a learned factor per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        # In float32 whatever the network's dtype: hundreds of squared features are beyond float16's 65504
        wide = x.float()
        norm = wide.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10
        return (wide / norm).mul_(self.weight.float()[None, :, None, None]).to(x.dtype)


def _vgg(dilated: bool) -> list[nn.Module]:
    """VGG-16 up to conv5_3's pool, then its first two full layers as convolutions; "C" pools with ceil_mode."""
    plan: list[int | str] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "C", 512, 512, 512, "M", 512, 512, 512, "M"]
    layers: list[nn.Module] = []
    channels = 3
    for item in plan:
        if isinstance(item, int):
            layers += [nn.Conv2d(channels, item, 3, padding=1), nn.ReLU(inplace=True)]
            channels = item
        else:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=dilated and item == "C"))
    fc6 = nn.Conv2d(512, 1024, 3, padding=6, dilation=6) if dilated else nn.Conv2d(512, 1024, 3, padding=3)
    layers += [fc6, nn.ReLU(inplace=True)]
    return [*layers, nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True)]


class S3fdDetector:
    """The detector (`lipscore.types.Detector`): scores are the face class's softmax; boxes are ordered best first.

    Boxes may reach beyond the frame: the originals do not clip them.

    Args:
        state: exactly the tensors of sfd_face.pth.
        device: the torch device that runs the network.
        facedet_scale: the factor by which frames are shrunk first; the originals' is 0.25.
        face_confidence: a box with a higher score is a face.
        batch_size: frames per forward pass; None: 1 on a CPU, 32 on a GPU, and fewer of large frames.
        stride: 1 looks at every frame, as the originals do.
        dtype: the network's floating-point type.
        tf32: on a GPU, whether products are rounded to TF32.

    Raises:
        WeightsError: the tensors are not S3FD's.
    """

    name = "s3fd"
    bridge, doubtful = 0, (0.0, 0.0)
    dilated = True
    mean_rgb = MEAN_RGB

    def __init__(
        self,
        state: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
        facedet_scale: float = 0.25,
        *,
        face_confidence: float = FACE,
        batch_size: int | None = None,
        stride: int = 1,
        dtype: torch.dtype = torch.float32,
        tf32: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.facedet_scale = facedet_scale
        self.face_confidence = face_confidence
        self.batch_size = batch_size or BATCH.get(self.device.type, 1)
        self._batches = Batches(self.batch_size, self.device, tf32=tf32)
        self.stride = stride
        self.turn: AbstractContextManager[object] = Lock() if self.device.type == "cpu" else nullcontext()
        self._dtype = dtype
        exact_gpu = self.device.type == "cuda" and dtype == torch.float32 and not tf32
        # oneDNN's convolutions are faster in this layout, and the rounded ones of cuDNN; its exact ones are not
        self._layout = torch.contiguous_format if exact_gpu else torch.channels_last
        with torch.device("meta"):
            network = S3FDNet(self.dilated)
        try:
            network.load_state_dict(state, strict=True, assign=True)
        except RuntimeError as error:
            raise WeightsError(f"these are not the weights of S3FD: {error}") from error
        del state  # each tensor goes as its copy comes, unless the caller keeps them
        for parameter in network.parameters():
            parameter.data = self._place(parameter.data)
        self.network = network.eval().requires_grad_(False)
        if self.device.type == "cpu" and packed.available():
            _settle(self.network.vgg, WIDE if dtype == torch.float32 else ())
        elif exact_gpu:  # in tf32, cuDNN's own are faster and more precise
            with on_device(self.device):
                for k in PLAIN:
                    self.network.vgg[k] = WinogradGpuConv(cast(nn.Conv2d, self.network.vgg[k]))
                    self.network.vgg[k + 1] = nn.Identity()
        self._priors: dict[tuple[int, int], Tensor] = {}
        self._mean = torch.tensor(self.mean_rgb, device=self.device)[:, None, None]

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """Faces of uint8[H, W, 3] BGR frames with these numbers, in their order; sizes may differ between frames.

        Frames are taken one at a time and shrunk: those of a stream are not all held at once.
        """
        scale = self.facedet_scale
        shrunk = (
            (frame.shape, index, cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR))
            for frame, index in zip(frames, indices, strict=True)
        )
        results: list[list[Detection]] = []
        for (height, width, _), same_size in groupby(shrunk, key=lambda one: one[0]):
            _, numbers, images = zip(*same_size, strict=True)
            for found, index in zip(self._detect(np.stack(images), (width, height)), numbers, strict=True):
                results.append(_detections(found, index))
        return results

    def _place(self, tensor: Tensor) -> Tensor:
        tensor = tensor.to(self.device, self._dtype)
        return tensor.contiguous(memory_format=self._layout) if tensor.dim() == 4 else tensor

    def _detect(self, small: NDArray[np.uint8], size: tuple[int, int]) -> list[NDArray[np.float32]]:
        """The result of `select` for shrunk frames uint8[N, h, w, 3] BGR; size: the frames' own width and height."""
        source = torch.tensor([*size, *size], dtype=torch.float32)
        found = []
        for offsets, scores, maps in self._answers(small):
            prior = self._priors_for(small.shape[1], small.shape[2], maps)
            for boxes, values in _candidates(offsets, scores, prior):
                found.append(select(boxes, values, source, self.face_confidence))
        return found

    def _answers(self, small: NDArray[np.uint8]) -> list[tuple[Tensor, Tensor, list[tuple[int, int]]]]:
        """The network's output for uint8[N, h, w, 3] BGR, batch by batch, on the host."""
        height, width = small.shape[1:3]
        fit = max(1, GPU_PIXELS // (height * width)) if self.device.type == "cuda" else None
        with on_device(self.device):
            parts = self._batches.over(len(small), lambda start, stop: self._network_on(small[start:stop]), fit)
            return [(*to_host(offsets, scores), maps) for offsets, scores, maps in parts]  # type: ignore[misc]

    @torch.inference_mode()
    def _network_on(self, small: NDArray[np.uint8]) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        rgb = to_device(small, self.device).permute(0, 3, 1, 2).flip(1).to(torch.float32)
        answer: tuple[Tensor, Tensor, list[tuple[int, int]]] = self.network(self._place(rgb - self._mean))
        return answer

    def _priors_for(self, height: int, width: int, maps: list[tuple[int, int]]) -> Tensor:
        known = self._priors.get((height, width))
        if known is None:
            known = priors(height, width, maps)
            self._priors = {(height, width): known}  # another thread may put its own size here
        return known


def priors(height: int, width: int, maps: Sequence[tuple[int, int]]) -> Tensor:
    """float32[P, 4] centre x, y, width, height, as fractions of an input of that size: one per cell, row by row."""
    rows = []
    for (n_rows, n_columns), step, size in zip(maps, STEPS, SIZES, strict=True):
        y, x = np.mgrid[:n_rows, :n_columns].reshape(2, -1)
        sides = np.broadcast_to([[size / width], [size / height]], (2, x.size))
        rows.append(np.stack([(x + 0.5) / (width / step), (y + 0.5) / (height / step), *sides], axis=1))
    return torch.from_numpy(np.concatenate(rows).astype(np.float32))


def decode(offsets: Tensor, prior: Tensor) -> Tensor:
    """Offsets [N, 4] from priors [N, 4] -> corners x1 y1 x2 y2 as fractions of the frame."""
    centres = prior[:, :2] + offsets[:, :2] * VARIANCES[0] * prior[:, 2:]
    sides = prior[:, 2:] * torch.exp(offsets[:, 2:] * VARIANCES[1])
    # In this order of operations: the far corner from the near one, to the last bit as the original
    near = centres - sides / 2
    return torch.cat([near, near + sides], 1)


def _candidates(offsets: Tensor, scores: Tensor, prior: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The boxes of a batch that may be faces, as fractions of the frame, and their scores, frame by frame.

    This runs on the host: with a GPU, the thread would have to wait twice, once for the number of boxes.
    """
    for offset, score in zip(offsets, scores, strict=True):
        chosen = (score > CANDIDATE).nonzero().squeeze(1)
        yield decode(offset[chosen], prior[chosen]), score[chosen]


def select(boxes: Tensor, scores: Tensor, source: Tensor, face_confidence: float = FACE) -> NDArray[np.float32]:
    """The faces among the candidates of one frame: float32[N, 5], x1 y1 x2 y2 score.

    Args:
        boxes: float32[N, 4], as fractions of the frame. scores: float32[N]. source: the frame's (w, h, w, h).
        face_confidence: a box with a higher score is a face.
    """
    # Ascending and walked from its end, as in the original: it settles the order of equal scores
    order = scores.sort().indices.numpy()[-CANDIDATES:][::-1]
    corners, values = boxes.numpy()[order], scores.numpy()[order]
    kept = suppress(corners, INNER_IOU, INNER_BOXES)
    kept = kept[values[kept] > face_confidence]
    faces = np.column_stack([corners[kept] * source.numpy(), values[kept]])
    faces = faces[faces[:, 4].astype(np.float64).argsort()[::-1]]
    return faces[suppress(faces[:, :4].astype(np.float64), OUTER_IOU, len(faces))]


def suppress(
    boxes: NDArray[np.floating], iou: float, limit: int, block: int = 256, pixel: float = 0.0
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression of [N, 4] boxes, best first: the indices of the first `limit` boxes that stay.

    A box is removed if its IoU with a kept one exceeds `iou` or is NaN (two boxes without area). Blocks keep the matrix
    of overlaps small; the result does not depend on them. pixel: added to the difference of the corners to get a side's
    length: 1 if corners are pixel numbers.
    """
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1 + pixel) * (y2 - y1 + pixel)

    def clash(one: NDArray[np.intp], many: NDArray[np.intp]) -> NDArray[np.bool_]:
        i, j = one[:, None], many[None, :]
        width = np.maximum(np.minimum(x2[i], x2[j]) - np.maximum(x1[i], x1[j]) + pixel, 0)
        height = np.maximum(np.minimum(y2[i], y2[j]) - np.maximum(y1[i], y1[j]) + pixel, 0)
        overlap = width * height
        with np.errstate(divide="ignore", invalid="ignore"):
            fits: NDArray[np.bool_] = overlap / ((areas[j] - overlap) + areas[i]) <= iou
        return ~fits

    kept: list[int] = []
    left = np.arange(len(boxes))
    while left.size and len(kept) < limit:
        head, left = left[:block], left[block:]
        clashes = clash(head, head)
        alive = np.ones(head.size, bool)
        for k in range(head.size):
            if alive[k]:
                alive[k + 1 :] &= ~clashes[k, k + 1 :]
        winners = head[alive]
        kept += winners.tolist()
        left = left[~clash(winners, left).any(axis=0)]
    return np.array(kept[:limit], np.intp)


def _detections(found: NDArray[np.float32], index: int) -> list[Detection]:
    return [Detection(index, row[:4], float(row[4])) for row in found]

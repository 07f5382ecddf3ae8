"""S3FD as in face_alignment and Wav2Lip: weights and network differ from those of the published scores.

The source is github.com/Rudrabha/Wav2Lip at 5c90fa9, face_detection/detection/sfd/ (net_s3fd.py, detect.py, bbox.py).
fc6 is not dilated, so its map grows by four cells, for which the anchors make no correction. The pool after conv3
rounds down. The frame is not shrunk. The means are subtracted from the channels in the wrong order. The weights can be
loaded into the other network, but it then gives other boxes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipscore.errors import WeightsError
from lipscore.faces.s3fd.detector import S3fdDetector, decode, priors, suppress

ACCEPTED = 0.5  # scores above it are faces; lower candidates cannot suppress them
OVERLAP = 0.3
# layers of the other network's vgg, by face_alignment's names
_VGG = {
    **{f"conv1_{k}": n for k, n in ((1, 0), (2, 2))},
    **{f"conv2_{k}": n for k, n in ((1, 5), (2, 7))},
    **{f"conv3_{k}": n for k, n in ((1, 10), (2, 12), (3, 14))},
    **{f"conv4_{k}": n for k, n in ((1, 17), (2, 19), (3, 21))},
    **{f"conv5_{k}": n for k, n in ((1, 24), (2, 26), (3, 28))},
    **{"fc6": 31, "fc7": 33},
}
_EXTRAS = ("conv6_1", "conv6_2", "conv7_1", "conv7_2")
_MAPS = ("conv3_3_norm", "conv4_3_norm", "conv5_3_norm", "fc7", "conv6_2", "conv7_2")
MODULES = {
    **{name: f"vgg.{n}" for name, n in _VGG.items()},
    **{name: f"extras.{n}" for n, name in enumerate(_EXTRAS)},
    **{f"conv{k}_3_norm": f"L2Norm{k}_3" for k in (3, 4, 5)},
    **{f"{name}_mbox_{head}": f"{head}.{n}" for n, name in enumerate(_MAPS) for head in ("conf", "loc")},
}


class FaceAlignmentS3fd(S3fdDetector):
    """The detector (`lipscore.types.Detector`); like the original, it looks at every whole frame.

    Args:
        state: exactly the tensors of s3fd.pth.
        device: the torch device that runs the network.
        batch_size: frames per forward pass; None: 1 on a CPU, 32 on a GPU.

    Raises:
        WeightsError: the tensors are not those of s3fd.pth.
    """

    name = "s3fd-fa"
    dilated = False
    mean_rgb = (104.0, 117.0, 123.0)  # B, G and R's means on R, G and B

    def __init__(
        self, state: Mapping[str, Tensor], device: torch.device | str = "cpu", batch_size: int | None = None
    ) -> None:
        super().__init__(renamed(state), device, 1.0, face_confidence=ACCEPTED, batch_size=batch_size)

    def _detect(self, small: NDArray[np.uint8], size: tuple[int, int]) -> list[NDArray[np.float32]]:  # noqa: ARG002
        """float32[N, 5] for each unshrunk frame of uint8[B, H, W, 3] BGR: x1 y1 x2 y2 in pixels, score."""
        found = []
        for offsets, scores, maps in self._answers(small):
            anchors = priors(1, 1, maps)  # in pixels
            for offset, score in zip(offsets, scores, strict=True):
                chosen = (score > self.face_confidence).nonzero().squeeze(1)
                rows = torch.cat([decode(offset[chosen], anchors[chosen]), score[chosen, None]], 1).numpy()
                rows = rows[rows[:, 4].argsort()[::-1]]
                found.append(rows[suppress(rows[:, :4], OVERLAP, len(rows), pixel=1.0)])
        return found


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """face_alignment's tensors under the names of sfd_face.pth.

    Raises:
        WeightsError: a tensor's name is not one of face_alignment's.
    """
    out = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if module not in MODULES:
            raise WeightsError(f"these are not face_alignment's weights of S3FD (s3fd.pth): {name}")
        out[f"{MODULES[module]}.{leaf}"] = tensor
    return out

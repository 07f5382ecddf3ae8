"""From the raw curve to an estimate of SyncNet's scores: a ridge regression on published ones.

`published_scores.csv` holds what MoChaBench (github.com/congwei1230/MoChaBench, eval-lipsync) published for its clips:
SyncNet v2 under the protocol called mochabench here.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import UsageError
from lipscore.syncnet.mini import Calibration, curve_features
from lipscore.types import SyncCurve

RIDGE = 0.3  # of the number of clips, on features brought to deviation 1


def read_published(path: Path) -> dict[str, tuple[float, float]]:
    """Clip name -> (LSE-D, LSE-C), of the clips that were scored: without a face the table says 0.

    Raises:
        UsageError: the file is not such a table.
    """
    try:
        with path.open(newline="") as file:
            scored = [row for row in csv.DictReader(file) if row["has_face"] == "True" and row["lse_c"]]
        return {row["clip"]: (float(row["lse_d"]), float(row["lse_c"])) for row in scored}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a table with the columns clip, has_face, lse_c, lse_d ({error})") from error


def fit_calibration(curves: Sequence[SyncCurve], published: Sequence[tuple[float, float]]) -> Calibration:
    """Least squares with a little ridge on everything but the constant.

    Args:
        curves: of clips that the weights were not trained on: those of trained clips are too good, and estimates
            fitted on them come out too low on new clips.
        published: (LSE-D, LSE-C) of the same clips.
    """
    features = np.stack([curve_features(curve) for curve in curves])
    lse_d, lse_c = np.array(published, np.float64).T
    return Calibration(_fit(features, lse_d), _fit(features, lse_c))


def _fit(features: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, ...]:
    deviation = features.std(0)
    deviation[0] = 1.0
    scaled = features / deviation
    scaled[:, 1:] -= scaled[:, 1:].mean(0)
    penalty = RIDGE * len(features) * np.eye(features.shape[1])
    penalty[0, 0] = 0.0
    weights = np.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ target) / deviation
    weights[0] -= float(weights[1:] @ features[:, 1:].mean(0))
    return tuple(float(w) for w in weights)

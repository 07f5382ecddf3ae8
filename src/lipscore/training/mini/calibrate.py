"""From what the built-in model sees to an estimate of SyncNet's scores: regressions on published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lipscore.syncnet.mini import APART, Calibration, probability
from lipscore.syncnet.published import read_table

LOGISTIC = 4  # how many of the features say whether lips and audio belong together
LOGISTIC_RIDGE = 3.0  # on features brought to deviation 1
BENEFIT = 1.0  # of the doubt, in the logit: estimates of clips in sync shall not be drawn down
RIDGE = 0.1  # of the number of clips, on features brought to deviation 1


def read_published(path: Path) -> dict[str, tuple[float, float]]:
    """Clip name -> (LSE-D, LSE-C), of the clips of a published table in which a face was found.

    Raises:
        UsageError: the file is not such a table.
        MissingError: it cannot be read.
    """
    rows = read_table(path)
    return {row.clip: (row.lse_d, row.lse_c) for row in rows if row.lse_d is not None and row.lse_c is not None}


def fit_calibration(
    own: NDArray[np.float64], published: Sequence[tuple[float, float]], others: NDArray[np.float64]
) -> Calibration:
    """Logistic regression for what belongs together, then least squares, each with a little ridge.

    Args:
        own: float64[N, 6], `features` of clips with their own audio, which the weights were not trained on
            (those of trained clips are too good, and estimates fitted on them come out too low on new clips).
        published: (LSE-D, LSE-C) of the same clips.
        others: float64[M, 6], the same with other clips' audio.
    """
    together = _fit_logistic(own[:, :LOGISTIC], others[:, :LOGISTIC])
    p = probability(own, together)
    fitted = [_fit_linear(own, target, p, apart) for target, apart in zip(np.array(published).T, APART, strict=True)]
    return Calibration(_floats(together), *map(_floats, fitted))


def _fit_logistic(own: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the features; both kinds count alike, however many there are of each."""
    rows, scaling = _scaled(np.concatenate([own, others]))
    truth = np.repeat([1.0, 0.0], [len(own), len(others)])
    counts = np.repeat([0.5 * len(rows) / len(own), 0.5 * len(rows) / len(others)], [len(own), len(others)])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = rows @ weights
        p = probability(rows, weights)
        penalty = LOGISTIC_RIDGE * np.r_[0.0, weights[1:]]
        value = counts @ (np.logaddexp(0.0, logits) - truth * logits) + penalty @ weights / 2
        return float(value), rows.T @ (counts * (p - truth)) + penalty

    found = minimize(loss, np.zeros(rows.shape[1]), jac=True, method="BFGS")
    weights: NDArray[np.float64] = scaling @ found.x
    weights[0] += BENEFIT
    return weights


def _fit_linear(
    features: NDArray[np.float64], target: NDArray[np.float64], p: NDArray[np.float64], apart: float
) -> NDArray[np.float64]:
    """Weights w for which (1 - p) * apart + p * (features @ w) is near the target."""
    rows, scaling = _scaled(features)
    rows = rows * p[:, None]
    penalty = RIDGE * len(rows) * np.diag(np.r_[0.0, np.ones(rows.shape[1] - 1)])
    weights: NDArray[np.float64] = scaling @ np.linalg.solve(
        rows.T @ rows + penalty, rows.T @ (target - apart * (1 - p))
    )
    return weights


def _scaled(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All features but the first, which is 1, at mean 0 and deviation 1; and the matrix that takes weights of these to
    weights of the features themselves.
    """
    mean, deviation = features[:, 1:].mean(0), features[:, 1:].std(0)
    scaling = np.diag(np.r_[1.0, 1.0 / deviation])
    scaling[0, 1:] = -mean / deviation
    return features @ scaling, scaling


def _floats(weights: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(w) for w in weights)

"""Fit the regressions that turn the built-in model's curve features into estimates of SyncNet's scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lipscore.syncnet.models.mini import APART, Calibration, probability
from lipscore.syncnet.models.published import read_table

LOGISTIC = 4  # the first features, which predict whether lips and audio belong together
LOGISTIC_RIDGE = 3.0  # on features scaled to standard deviation 1
RIDGE = 0.1  # times the number of clips, on features scaled to standard deviation 1


def read_published(path: Path) -> dict[str, tuple[float, float]]:
    """Clip name -> (LSE-D, LSE-C), for the clips of a published table in which a face was found.

    Raises:
        UsageError: the file is not such a table.
        MissingError: the file cannot be read.
    """
    rows = read_table(path)
    return {row.clip: (row.lse_d, row.lse_c) for row in rows if row.lse_d is not None and row.lse_c is not None}


def fit_calibration(
    own: NDArray[np.float64], published: Sequence[tuple[float, float]], others: NDArray[np.float64]
) -> Calibration:
    """Fit a logistic regression (do lips and audio belong together?), then ridge regressions for the scores.

    Args:
        own: float64[N, 6], `features` of held-out clips with their own audio. Features of clips that the weights were
            trained on are too good: estimates fitted on them come out too low on new clips.
        published: (LSE-D, LSE-C) of the same clips.
        others: float64[M, 6], the same with other clips' audio.
    """
    together = _fit_logistic(own[:, :LOGISTIC], others[:, :LOGISTIC])
    p = probability(own, together)
    fitted = [_fit_linear(own, target, p, apart) for target, apart in zip(np.array(published).T, APART, strict=True)]
    return Calibration(_floats(together), *map(_floats, fitted))


def _fit_logistic(own: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The features' weights; the two classes have the same total weight."""
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
    return weights


def _fit_linear(
    features: NDArray[np.float64], target: NDArray[np.float64], p: NDArray[np.float64], apart: float
) -> NDArray[np.float64]:
    """The weights w for which (1 - p) * apart + p * (features @ w) fits the target."""
    rows, scaling = _scaled(features)
    rows = rows * p[:, None]
    penalty = RIDGE * len(rows) * np.diag(np.r_[0.0, np.ones(rows.shape[1] - 1)])
    weights: NDArray[np.float64] = scaling @ np.linalg.solve(
        rows.T @ rows + penalty, rows.T @ (target - apart * (1 - p))
    )
    return weights


def _scaled(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(the standardised features, the matrix that maps their weights to weights of the original features).

    The first feature is the constant 1 and stays as it is.
    """
    mean, deviation = features[:, 1:].mean(0), features[:, 1:].std(0)
    scaling = np.diag(np.r_[1.0, 1.0 / deviation])
    scaling[0, 1:] = -mean / deviation
    return features @ scaling, scaling


def _floats(weights: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(w) for w in weights)

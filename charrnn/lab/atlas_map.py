"""Place cells on a map by the correlations of their values: near cells carry the same information.

Shapes: C cells, n characters of a sample.
"""

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.trace import Activations

SAMPLE_CHARS = 16_384
"""Characters, spread evenly over the text, over which correlations are computed, at most."""
SAMPLE_VALUES = 2**24
"""Values of all cells in that sample, at most."""
NUM_ITERATIONS = 200
"""Steps of the subspace iteration that finds the two axes of the map."""
SUBSPACE = 8
"""Vectors of the subspace iteration: more than two, so that it converges although eigenvalues are close."""
DISTANCE = 0.75
"""Least distance of two cells on the map, in units of 1 / sqrt(C), which a grid of all cells would have."""
NUM_SPREADS = 120
"""Steps in which cells that are too close move apart."""


def correlate_cells(activations: Activations) -> NDArray[np.float32]:
    """Compute the correlation (C, C) of every two cells over a sample of the text; 0 for a constant cell."""
    num_cells, num_chars = activations.num_cells, len(activations.text)
    size = max(2, min(num_chars, SAMPLE_CHARS, SAMPLE_VALUES // num_cells))
    places = np.linspace(0, num_chars - 1, size).astype(np.int64)
    sample = np.empty((num_cells, size), np.float32)
    for cells, values in activations.blocks(max(1, SAMPLE_VALUES // num_chars)):
        sample[cells] = values[:, places]
    sample -= sample.mean(axis=1, keepdims=True)
    norms = np.sqrt((sample**2).sum(axis=1, keepdims=True))
    sample /= np.where(norms > 0, norms, 1)
    return np.asarray(np.clip(sample @ sample.T, -1, 1))


def place_cells(correlations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Place cells with correlations (C, C) on a map: returns (C, 2) in [0, 1].

    Classical multidimensional scaling (Torgerson 1952) of squared distances 1 - r²: the sign of a cell does not matter.
    Then each axis is stretched halfway to equal spacing, and cells that overlap move apart.
    """
    num_cells = len(correlations)
    products = correlations.astype(np.float64) ** 2 / 2
    products -= products.mean(axis=0)
    products -= products.mean(axis=1, keepdims=True)
    axes = _leading_axes(products)
    ranks = np.argsort(np.argsort(axes, axis=0, kind="stable"), axis=0, kind="stable") / max(1, num_cells - 1)
    lengths = np.ptp(axes, axis=0)
    scaled = (axes - axes.min(axis=0)) / np.where(lengths > 0, lengths, 1)
    return spread((ranks + scaled) / 2, DISTANCE / num_cells**0.5)


def _leading_axes(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two leading eigenvectors of a symmetric matrix (C, C), times the roots of their eigenvalues.

    The largest entry of each is positive, so that the map of a model is always the same.
    """
    size = min(SUBSPACE, len(products))
    basis = np.random.default_rng(0).normal(size=(len(products), size))
    for _ in range(NUM_ITERATIONS):
        basis, _ = np.linalg.qr(products @ basis)
    values, vectors = np.linalg.eigh(basis.T @ products @ basis)
    axes = np.zeros((len(products), 2))
    leading = basis @ vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    axes[:, : leading.shape[1]] = leading
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0))
    return np.asarray(axes * np.where(signs == 0, 1, signs))


def spread(places: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """Move places (C, 2) in [0, 1] apart until hardly any two are closer than `distance`."""
    # Cells at the same place start in different directions.
    angles = np.arange(len(places)) * np.pi * (3 - 5**0.5)
    moved = places + 1e-3 * distance * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    moved = np.clip(moved, 0, 1)
    for _ in range(NUM_SPREADS):
        order = np.argsort(moved[:, 0], kind="stable")
        ordered, pushes = moved[order], np.zeros_like(moved)
        # Only cells near in the first coordinate can be near: each with the one after it, the second after it, …
        for step in range(1, len(places)):
            between = ordered[step:] - ordered[:-step]
            if (between[:, 0] >= distance).all():
                break
            lengths = np.sqrt((between**2).sum(axis=1))
            lacking = np.where((lengths > 0) & (lengths < distance), distance - lengths, 0)
            push = between * (lacking / np.where(lengths > 0, lengths, 1) / 2)[:, None]
            pushes[step:] += push
            pushes[:-step] -= push
        if not pushes.any():
            break
        moved[order] = np.clip(ordered + pushes, 0, 1)
    return np.asarray(moved)

"""Weight matrices as writing multiplies with them: float32 as they were learned, or eight bits and the same bits out.

In eight bits a product is a sum of whole numbers that float32 holds exactly, and everything around it is done one
operation at a time. So the result does not depend on the order of the sum: NumPy or compiled, one text or many, this
processor or that, it is the same to the last bit.

Shapes: B batch, R rows, C columns; float32.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LARGEST = 127
"""Of the whole numbers that stand for a weight."""
MANTISSA_BITS = 24
"""Whole numbers up to 2^24 are exact in float32."""
SMALLEST_WEIGHT = 2.0**-100
"""Rows without a larger weight are taken for zeros: their scale could be rounded, even to zero."""
SMALLEST_EXPONENT = -60
"""Inputs are scaled as if the largest of them were 2^-61 at least: scaling up smaller ones could overflow."""

TANH_LIMIT = 9.0
TANH_TOP = (0.99999990636668, 0.13373198771542, 3.4865830984447e-3, 2.0471847671649e-5, 1.3184242806811e-8)
TANH_BOTTOM = (1.0, 0.46706495638980, 2.5841983960394e-2, 3.2713872397441e-4, 7.7026722455669e-7)
"""x P(x^2) / Q(x^2), fitted to tanh on [-9, 9] by reweighted least squares: off by at most 4e-7 in float32."""


class Matrix:
    """A weight (R, C) that inputs (B, C) are multiplied with.

    `values` (R, C) are float32, or int8 with a `scale` (R,) per row (Jacob 2018, without zero points); `bits` says how
    many bits of an input take part: 0 for all.
    """

    def __init__(self, weight: NDArray[Any], *, is_int8: bool) -> None:
        """Round each row to 127 steps either way of its largest weight, if `is_int8` and all weights are finite."""
        weight = np.asarray(weight, np.float32)
        self.values: NDArray[Any] = np.ascontiguousarray(weight)
        self.scale: Floats = np.ones(len(weight), np.float32)
        self.bits = 0
        if is_int8 and np.isfinite(weight).all():
            largest = np.abs(weight).max(axis=1)
            self.scale = np.where(largest < SMALLEST_WEIGHT, 1, largest / np.float32(LARGEST)).astype(np.float32)
            rounded = np.rint(weight / self.scale[:, None])
            self.values = rounded.astype(np.int8)
            # A sum of |weight| * |input| must stay a whole number up to 2^24.
            self.bits = MANTISSA_BITS - math.ceil(math.log2(max(1.0, float(np.abs(rounded).sum(axis=1).max()))))
            assert self.bits > 0, "more than 66,052 columns"
        self._transposed = self.values.astype(np.float32).T

    def product(self, x: Floats) -> Floats:
        """x (B, C) to x @ weight.T (B, R)."""
        if self.bits == 0:
            return np.asarray(x @ self._transposed)
        _, exponent = np.frexp(np.abs(x).max(axis=-1, keepdims=True))
        exponent = np.maximum(exponent, SMALLEST_EXPONENT)
        rounded = np.rint(np.ldexp(x, self.bits - exponent))
        return np.asarray((rounded @ self._transposed) * np.ldexp(self.scale, exponent - self.bits))


def exact_tanh(x: Floats) -> Floats:
    """tanh of float32 by additions, multiplications and one division, which round alike everywhere; off by 4e-7."""
    x = np.clip(x, np.float32(-TANH_LIMIT), np.float32(TANH_LIMIT))
    square = x * x
    top = np.full_like(x, TANH_TOP[-1])
    bottom = np.full_like(x, TANH_BOTTOM[-1])
    for a, b in zip(TANH_TOP[-2::-1], TANH_BOTTOM[-2::-1], strict=True):
        top = top * square + np.float32(a)
        bottom = bottom * square + np.float32(b)
    return np.asarray(x * top / bottom)

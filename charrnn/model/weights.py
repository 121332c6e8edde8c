"""Weight matrices for generating text: float32 as trained, or int8 with results that are the same on every machine.

With int8, a product is a sum of integers that float32 represents exactly, and everything around it is done one
operation at a time. So the result does not depend on the order of the sum: it is the same to the last bit with NumPy
and compiled code, for one text and many, and on every processor.

Shapes: B batch, R rows, C columns; float32.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
"""An array of float32."""

LARGEST = 127
"""Largest integer that represents a weight."""
MANTISSA_BITS = 24
"""Integers up to 2^24 are exact in float32."""
SMALLEST_WEIGHT = 2.0**-100
"""Rows without a larger weight become zeros, because their scale would be rounded, even to zero."""
SMALLEST_EXPONENT = -60
"""Inputs are scaled as if the largest were at least 2^-61: scaling up smaller ones could overflow."""

TANH_LIMIT = 9.0
"""tanh(x) is computed for x clipped to [-9, 9]."""
TANH_TOP = (0.99999990636668, 0.13373198771542, 3.4865830984447e-3, 2.0471847671649e-5, 1.3184242806811e-8)
"""Coefficients of P; see `TANH_BOTTOM`."""
TANH_BOTTOM = (1.0, 0.46706495638980, 2.5841983960394e-2, 3.2713872397441e-4, 7.7026722455669e-7)
"""Coefficients of Q: x P(x^2) / Q(x^2), fitted to tanh on [-9, 9] by reweighted least squares, has errors of at most
4e-7 in float32."""


class Matrix:
    """A weight (R, C) that inputs (B, C) are multiplied with.

    `values` (R, C) are float32, or int8 with a `scale` (R,) per row (Jacob 2018, without zero points). `bits` is the
    number of bits to which inputs are rounded; 0: they are not.
    """

    def __init__(self, weight: NDArray[Any], *, is_int8: bool) -> None:
        """Round each row to multiples of 1/127 of its largest weight, if `is_int8` and all weights are finite."""
        weight = np.asarray(weight, np.float32)
        self.values: NDArray[Any] = np.ascontiguousarray(weight)
        self.scale: Float32Array = np.ones(len(weight), np.float32)
        self.bits = 0
        if is_int8 and np.isfinite(weight).all():
            largest = np.abs(weight).max(axis=1)
            self.scale = np.where(largest < SMALLEST_WEIGHT, 1, largest / np.float32(LARGEST)).astype(np.float32)
            rounded = np.rint(weight / self.scale[:, None])
            self.values = rounded.astype(np.int8)
            # Sums of |weight| * |input| must be integers of at most 2^24.
            self.bits = MANTISSA_BITS - math.ceil(math.log2(max(1.0, float(np.abs(rounded).sum(axis=1).max()))))
            assert self.bits > 0, "more than 66,052 columns"
        self._transposed = self.values.astype(np.float32).T

    def product(self, x: Float32Array) -> Float32Array:
        """Compute x (B, C) @ weight.T, (B, R)."""
        if self.bits == 0:
            return np.asarray(x @ self._transposed)
        _, exponent = np.frexp(np.abs(x).max(axis=-1, keepdims=True))
        exponent = np.maximum(exponent, SMALLEST_EXPONENT)
        rounded = np.rint(np.ldexp(x, self.bits - exponent))
        return np.asarray((rounded @ self._transposed) * np.ldexp(self.scale, exponent - self.bits))


def exact_tanh(x: Float32Array) -> Float32Array:
    """Compute tanh in float32 by operations that round alike everywhere, with errors of at most 4e-7."""
    x = np.clip(x, np.float32(-TANH_LIMIT), np.float32(TANH_LIMIT))
    square = x * x
    top = np.full_like(x, TANH_TOP[-1])
    bottom = np.full_like(x, TANH_BOTTOM[-1])
    for a, b in zip(TANH_TOP[-2::-1], TANH_BOTTOM[-2::-1], strict=True):
        top = top * square + np.float32(a)
        bottom = bottom * square + np.float32(b)
    return np.asarray(x * top / bottom)

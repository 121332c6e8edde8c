"""Compute products, functions, Fourier transforms and 8-bit weights in NumPy so that they round
alike on every processor.

The order in which BLAS adds depends on the processor, and so do the instructions, and the rounding,
of NumPy's exp, sine, cosine, complex product and FFT. This module uses only operations that IEEE
754 rounds exactly: additions, multiplications, divisions and square roots of real numbers, one at a
time, and NumPy's sums, whose order depends on shapes alone.

With int8 weights, a product is a sum of integers that float32 represents exactly, so the result
does not depend on the order of the sum: it is the same to the last bit with NumPy and compiled
code, for one text and many.

Shapes: B batch, N points of a transform, K terms of a sum, R rows and C columns of a weight.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.model.cell_types import Ops

Doubles = NDArray[np.float64]
"""An array of float64."""
Float32Array = NDArray[np.float32]
"""An array of float32."""

MANTISSA_BITS = 53
"""Integers up to 2^53 are exact in float64."""
HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
"""pi / 2 as a sum of three parts; an integer below 2^20 times one of the first two is exact."""
SINE = tuple((-1) ** n / math.factorial(2 * n + 1) for n in range(9))
"""Taylor coefficients of sin(x) / x in x^2; the remainder is below 2^-55 for |x| <= pi / 4."""
COSINE = tuple((-1) ** n / math.factorial(2 * n) for n in range(10))
"""Taylor coefficients of cos(x) in x^2; the remainder is below 2^-55 for |x| <= pi / 4."""

INVERSE_LN2, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
"""1 / ln 2, and ln 2 as a sum of two parts; an integer below 2^20 times the first is exact."""
EXP_TERMS = tuple(1 / math.factorial(n) for n in range(14))
"""Taylor coefficients of exp; the remainder is below 2^-53 for |x| <= ln(2) / 2."""
EXP_LIMIT = -700.0
"""Below it, exp is set to 0."""

ARTANH = tuple(1 / (2 * n + 1) for n in range(15))
"""Taylor coefficients of artanh(x) / x in x^2; the remainder is below 2^-52 for |x| <= 1 / 3."""


def _polynomial(coefficients: Sequence[float], x: NDArray[Any]) -> NDArray[Any]:
    """Compute the sum of coefficients[n] x^n in the precision of x, by Horner's rule."""
    total = x * coefficients[-1]
    total += coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total *= x
        total += coefficient
    return total


def exact_exp(x: Doubles) -> Doubles:
    """Compute exp(x), x <= 0, in float64 with errors of about 2^-52; 0 for nan.

    NumPy's own differs between processors in its last bit, and a text that is drawn by it would,
    too.
    """
    # exp(x) = 2^power * exp(remainder), where |remainder| is at most ln(2) / 2.
    inside = np.fmax(x, EXP_LIMIT)
    power = np.rint(inside * INVERSE_LN2)
    remainder = (inside - power * LN2_HIGH) - power * LN2_LOW

    scaled = np.ldexp(_polynomial(EXP_TERMS, remainder), power.astype(np.int64))
    return np.where(x >= EXP_LIMIT, scaled, 0.0)


def exact_product(x: NDArray[Any], weight: NDArray[Any]) -> Doubles:
    """Compute x (B, K) @ weight (R, K).T in float64, independent of the order in which BLAS adds.

    It is slower than `@`, and used where every processor must get the same bits.

    The error is about 2^-45 of the largest factors.

    Each value is split into two integers that are so short that every sum of their products is an
    integer that float64 represents exactly (Ozaki, Ogita, Oishi & Rump 2012). If a value is not
    finite, the product is computed by BLAS.
    """
    x = np.asarray(x, np.float64)
    weight = np.asarray(weight, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(weight).all()):
        return np.asarray(x @ weight.T)

    # Each factor has half of the bits of a product. A sum of K products needs log2(K) more bits.
    num_bits = (MANTISSA_BITS - math.ceil(math.log2(max(1, x.shape[1])))) // 2
    x_high, x_low, x_exponent = _split(x, num_bits)
    w_high, w_low, w_exponent = _split(weight, num_bits)

    # The four products of integers are exact; their results are then added up.
    high = x_high @ w_high.T
    middle = x_high @ w_low.T + x_low @ w_high.T
    low = x_low @ w_low.T
    total = high + np.ldexp(middle + np.ldexp(low, -num_bits), -num_bits)
    product: Doubles = np.ldexp(total, x_exponent + w_exponent.T - 2 * num_bits)
    return product


def attend(query: NDArray[Any], past: NDArray[Any]) -> NDArray[Any]:
    """Compute the mean (B, H) of the vectors `past` (N, B, H) with the weights softmax(past query /
    sqrt(H)).

    The order of every sum depends on N and H alone.
    """
    scores = (past * query).sum(-1, dtype=np.float64) / math.sqrt(query.shape[-1])
    weights = exact_exp(scores - scores.max(0))
    # `cumsum` is used because `sum` adds the rows of an array (N, 1) in another order than the rows
    # of (N, B).
    read = (weights[..., None] * past).sum(0) / weights.cumsum(0)[-1][:, None]
    return np.asarray(read, query.dtype)


def _split(x: Doubles, num_bits: int) -> tuple[Doubles, Doubles, NDArray[Any]]:
    """Split x (B, K) into integers high and low: x = (high + low / 2^bits) 2^(exponent - bits),
    exponent (B, 1)."""
    _, exponent = np.frexp(np.abs(x).max(axis=1, keepdims=True, initial=0))
    scaled = np.ldexp(x, num_bits - exponent)
    high = np.rint(scaled)
    return high, np.rint(np.ldexp(scaled - high, num_bits)), exponent


def exact_cos_sin(angle: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Compute cosine and sine in float64 of angles in radians up to 10^6, with errors of about
    2^-52."""
    angle = np.asarray(angle, np.float64)
    turns = np.rint(angle * (2 / math.pi))

    # Subtract whole quarters of a turn from the angle. HALF_PI is a sum of three terms, and the
    # products with all terms except the last are exact (Cody & Waite 1980).
    remainder = angle
    for part in HALF_PI:
        remainder = remainder - turns * part

    # Compute the Taylor series of the remainder.
    square = remainder * remainder
    sine = _polynomial(SINE, square) * remainder
    cosine = _polynomial(COSINE, square)

    # The quarter determines whether sine and cosine are swapped, and their signs.
    quarter = np.mod(turns, 4)
    is_swapped = np.mod(turns, 2) == 1
    cos = np.where(is_swapped, sine, cosine) * np.where((quarter == 1) | (quarter == 2), -1.0, 1.0)
    sin = np.where(is_swapped, cosine, sine) * np.where(quarter >= 2, -1.0, 1.0)
    return cos, sin


@lru_cache(maxsize=256)
def _cos_sin_of(angles: bytes) -> tuple[Float32Array, Float32Array]:
    """Compute cosine and sine, cached, because the angles of a model are the same at every
    character."""
    cos, sin = exact_cos_sin(np.frombuffer(angles, np.float32))
    return cos.astype(np.float32), sin.astype(np.float32)


@lru_cache(maxsize=64)
def _powers_of_unity(size: int, rows: int, columns: int) -> tuple[Doubles, Doubles]:
    """Compute exp(-2 pi i row column / size), real and imaginary parts (rows, columns)."""
    exponents = np.mod(np.outer(np.arange(rows), np.arange(columns)), size)
    cos, sin = exact_cos_sin(exponents * (2 * math.pi / size))
    return cos, -sin


def _times(re: Doubles, im: Doubles, w: tuple[Doubles, Doubles]) -> tuple[Doubles, Doubles]:
    return re * w[0] - im * w[1], re * w[1] + im * w[0]


def exact_fft(re: Float32Array, im: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Compute the Fourier transform of complex numbers (B, N), divided by sqrt(N): real and
    imaginary parts.

    Computed in float64, in two steps of sums over the factors of N nearest to its square root
    (Cooley & Tukey 1965).
    """
    # The factors of N nearest to its square root.
    batch, size = re.shape
    inner = next(n for n in range(math.isqrt(size), 0, -1) if size % n == 0)
    outer = size // inner

    # n = outer * n1 + n2, k = k1 + inner * k2: first over n1.
    real = re.astype(np.float64).reshape(batch, inner, 1, outer)
    imaginary = im.astype(np.float64).reshape(batch, inner, 1, outer)
    w_real, w_imaginary = _powers_of_unity(inner, rows=inner, columns=inner)
    real, imaginary = _times(real, im=imaginary, w=(w_real[:, :, None], w_imaginary[:, :, None]))
    real = real.sum(axis=1)
    imaginary = imaginary.sum(axis=1)

    # Then over n2.
    twiddles = _powers_of_unity(size, rows=inner, columns=outer)
    real, imaginary = _times(real, im=imaginary, w=twiddles)
    powers = _powers_of_unity(outer, rows=outer, columns=outer)
    real, imaginary = _times(real[..., None], im=imaginary[..., None], w=powers)

    def collect(part: Doubles) -> Float32Array:
        total = part.sum(axis=2).transpose(0, 2, 1).reshape(batch, size)
        return np.asarray(total / math.sqrt(size), np.float32)

    return collect(real), collect(imaginary)


LARGEST = 127
"""Largest integer that represents a weight."""
SUM_BITS = 24
"""Integers up to 2^24 are exact in float32."""
SMALLEST_WEIGHT = 2.0**-100
"""Rows without a larger weight become zeros, because their scale would be inexact or zero."""
SMALLEST_EXPONENT = -60
"""Inputs are scaled as if the largest of them were at least 2^-61: scaling up smaller inputs could
overflow."""

TANH_LIMIT = 9.0
"""tanh(x) is computed for x clipped to [-9, 9]."""
TANH_TOP = (
    0.99999990636668,
    0.13373198771542,
    3.4865830984447e-3,
    2.0471847671649e-5,
    1.3184242806811e-8,
)
"""Coefficients of P; see `TANH_BOTTOM`."""
TANH_BOTTOM = (1.0, 0.46706495638980, 2.5841983960394e-2, 3.2713872397441e-4, 7.7026722455669e-7)
"""Coefficients of Q: x P(x^2) / Q(x^2), fitted to tanh on [-9, 9] by reweighted least squares, has
errors of at most 4e-7 in float32."""


def from_rows(values: NDArray[Any], scale: Float32Array) -> Float32Array:
    """Compute a weight (R, C) from its integers (R, C) and the scale (R,) of each row."""
    with np.errstate(over="ignore"):  # A damaged file may overflow; it is refused later.
        return np.asarray(values * scale[:, None], np.float32)


class Matrix:
    """A weight (R, C) by which inputs (B, C) are multiplied.

    A stepper multiplies by it, and need not know in which precision its weights are.

    `values` (R, C) are float32, or int8 with a `scale` (R,) per row (Jacob 2018, without zero
    points). `bits` is the number of bits to which inputs are rounded; 0 means no rounding.
    """

    def __init__(self, weight: NDArray[Any], *, is_int8: bool):
        """Round each row to multiples of 1/127 of its largest weight, if `is_int8` and all weights
        are finite."""
        # Without rounding, the values are the weights.
        weight = np.asarray(weight, np.float32)
        self.values: NDArray[Any] = np.ascontiguousarray(weight)
        self.scale: Float32Array = np.ones(len(weight), np.float32)
        self.bits = 0

        if is_int8 and np.isfinite(weight).all():
            largest = np.abs(weight).max(axis=1)
            self.scale = largest / np.float32(LARGEST)
            # Rows that become zeros have the scale 1.
            self.scale[largest < SMALLEST_WEIGHT] = 1
            rounded = np.rint(weight / self.scale[:, None])
            self.values = rounded.astype(np.int8)

            # Sums of |weight| * |input| must be integers of at most 2^24, which holds for up to
            # 66,052 columns.
            largest_sum = float(np.abs(rounded).sum(axis=1).max())
            # A matrix of zeros, for example from weights near 1e-38, allows any number of bits. It
            # gets the number of a full matrix of its size, because compiled code supports no more.
            if largest_sum == 0:
                largest_sum = LARGEST * weight.shape[1]
            self.bits = SUM_BITS - math.ceil(math.log2(largest_sum))

    @cached_property
    def _transposed(self) -> Float32Array:
        # The integers are converted to float32, because BLAS has no products of integers.
        return np.asarray(self.values.astype(np.float32).T)

    def product(self, x: Float32Array) -> Float32Array:
        """Compute x (B, C) @ weight.T, (B, R)."""
        if self.bits == 0:
            return x @ self._transposed

        # Each row of inputs is scaled by its largest value, and rounded to integers of `bits` bits.
        _, exponent = np.frexp(
            np.maximum.reduce(
                np.abs(x),
                axis=-1,
                keepdims=True,
            )
        )
        exponent = np.maximum(exponent, SMALLEST_EXPONENT)
        rounded = np.rint(np.ldexp(x, self.bits - exponent))

        # Sums of integers are exact in any order. One product converts each of them back to a
        # float.
        sums = rounded @ self._transposed
        product: Float32Array = sums * np.ldexp(self.scale, exponent - self.bits)
        return product


def exact_tanh(x: Float32Array) -> Float32Array:
    """Compute tanh in float32 by operations that round alike everywhere, with errors of at most
    4e-7."""
    x = np.minimum(np.maximum(x, np.float32(-TANH_LIMIT)), np.float32(TANH_LIMIT))
    square = x * x
    tanh: Float32Array = x * _polynomial(TANH_TOP, square) / _polynomial(TANH_BOTTOM, square)
    return tanh


def exact_softplus(x: Float32Array) -> Float32Array:
    """Compute ln(1 + exp(x)) by operations that round alike everywhere, in float64, rounded to
    float32."""
    power = exact_exp(-np.abs(x.astype(np.float64)))
    ratio = power / (2 + power)
    # ln(1 + p) = 2 artanh(p / (2 + p)), where the ratio is at most 1/3.
    return np.asarray(np.maximum(x, 0) + 2 * ratio * _polynomial(ARTANH, ratio * ratio), np.float32)


def _split_columns(x: NDArray[Any], blocks: int) -> list[NDArray[Any]]:
    """Return views of `blocks` equal parts of the last axis, without the checks of `np.split`,
    which take longer."""
    width = x.shape[-1] // blocks
    return [x[..., start : start + width] for start in range(0, blocks * width, width)]


def _parts(z: NDArray[np.complex128], like: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return z.real.astype(like.dtype), z.imag.astype(like.dtype)


NUMPY: Ops = Ops(
    # tanh cannot overflow, but exp(-x) would cause a warning far from zero.
    sigmoid=lambda x: 0.5 * np.tanh(0.5 * x) + 0.5,
    tanh=np.tanh,
    relu=lambda x: np.maximum(x, 0),
    sqrt=np.sqrt,
    cos=np.cos,
    sin=np.sin,
    softplus=lambda x: np.logaddexp(0, x),
    linear=lambda x, weight: x @ weight.T,
    split=_split_columns,
    cat=lambda parts: np.concatenate(parts, axis=-1),
    fft=lambda re, im: _parts(np.fft.fft(re + 1j * im, norm="ortho"), re),
    clamp=lambda memory: memory,
)
"""The functions of the equations in NumPy."""
EXACT: Ops = replace(
    NUMPY,
    tanh=exact_tanh,
    sigmoid=lambda x: 0.5 * exact_tanh(np.float32(0.5) * x) + 0.5,
    cos=lambda angle: _cos_sin_of(angle.tobytes())[0],
    sin=lambda angle: _cos_sin_of(angle.tobytes())[1],
    softplus=exact_softplus,
    linear=lambda x, weight: exact_product(x, weight).astype(np.float32),
    fft=exact_fft,
)
"""The same functions from operations that round alike on every processor."""

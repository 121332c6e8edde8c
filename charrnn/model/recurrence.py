"""Recurrences with gradients of their own, where torch's would be slow.

On a CPU, autograd adds up a recurrent weight's gradient once per character: T small products that each read and write
the whole matrix. Here it is one large product per window. The gates' derivatives that need no recurrence are computed
for the whole window at once, too.

Shapes: T time, B batch, H hidden, G blocks.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import linear


class RecurrentProduct:
    """h -> h @ weight.T + bias for every step of a window, the gradients of weight and bias in one product at the end.

    weight (G*H, H), bias (G*H,). One instance serves one forward and one backward pass.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight.detach(), bias.detach()
        self._tape: list[tuple[Tensor, Tensor]] = []
        # Every step depends on this token, so autograd reaches `_Enter` after the last of them.
        self._token: Tensor = _Enter.apply(weight, bias, self._tape)  # type: ignore[no-untyped-call]

    def __call__(self, h: Tensor) -> Tensor:
        """The product (B, G*H) of h (B, H), in the weight's precision."""
        return _Step.apply(h, self._token, self._weight, self._bias, self._tape)  # type: ignore[no-untyped-call,no-any-return]


class _Enter(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, tape: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.tape = tape
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        d_products, hs = (torch.cat(parts) for parts in zip(*ctx.tape, strict=True))
        ctx.tape.clear()
        return d_products.t() @ hs, d_products.sum(0), None


class _Step(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, token: Tensor, weight: Tensor, bias: Tensor, tape: list[Any]) -> Tensor:
        h_cast = h.to(weight.dtype)
        ctx.tape, ctx.h, ctx.weight = tape, h_cast, weight
        return linear(h_cast, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_product = grads[0].to(ctx.weight.dtype)
        ctx.tape.append((d_product, ctx.h))
        return d_product @ ctx.weight, d_product.new_zeros(()), None, None, None


def gru(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """All outputs (T, B, H) of a GRU.

    x (T, B, 3*H) is the input product with its bias, h (B, H) the state, weight (3*H, H), bias (3*H,).
    """
    return _Gru.apply(x, h, weight, bias)  # type: ignore[no-untyped-call,no-any-return]


class _Gru(Function):
    """Blocks r, z, n, as in `equations.Gru`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        num_steps, batch_size, hidden_size = x.shape[0], x.shape[1], h.shape[-1]
        hs = x.new_empty(num_steps + 1, batch_size, hidden_size)
        rz = x.new_empty(num_steps, batch_size, 2 * hidden_size)
        n, u_n = x.new_empty(2, num_steps, batch_size, hidden_size)
        hs[0] = h
        for t in range(num_steps):
            product = linear(hs[t], weight, bias)
            gates = torch.add(x[t, :, : 2 * hidden_size], product[:, : 2 * hidden_size], out=rz[t]).sigmoid_()
            u_n[t] = product[:, 2 * hidden_size :]
            torch.addcmul(x[t, :, 2 * hidden_size :], gates[:, :hidden_size], u_n[t], out=n[t]).tanh_()
            torch.lerp(n[t], hs[t], gates[:, hidden_size:], out=hs[t + 1])
        ctx.save_for_backward(hs, rz, n, u_n, weight)
        return hs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hs, rz, n, u_n, weight = ctx.saved_tensors
        num_steps, batch_size, hidden_size = n.shape
        r, z = rz.chunk(2, dim=-1)
        by_z = (hs[:-1] - n) * z * (1 - z)
        by_n = (1 - z) * (1 - n * n)
        by_r = u_n * r * (1 - r)
        d_x = n.new_empty(num_steps, batch_size, 3 * hidden_size)
        d_product = torch.empty_like(d_x)
        d_h = torch.zeros_like(hs[0])
        for t in range(num_steps - 1, -1, -1):
            d_h = d_h + grads[0][t]
            d_r, d_z, d_n = d_x[t].chunk(3, dim=-1)
            torch.mul(d_h, by_n[t], out=d_n)
            torch.mul(d_n, by_r[t], out=d_r)
            torch.mul(d_h, by_z[t], out=d_z)
            d_product[t, :, : 2 * hidden_size] = d_x[t, :, : 2 * hidden_size]
            torch.mul(d_n, r[t], out=d_product[t, :, 2 * hidden_size :])
            d_h = torch.addmm(d_h * z[t], d_product[t], weight)
        flat = d_product.flatten(0, 1)
        return d_x, d_h, flat.t() @ hs[:-1].flatten(0, 1), flat.sum(0)


def rnn(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, omega: float = 0.0) -> Tensor:
    """All outputs (T, B, H) of a tanh RNN.

    x (T, B, H) is the input product with its bias, h (B, H) the state, weight (H, H), bias (H,). With `omega`, the
    weight's gradient is also that of omega * Ω, where Ω is the mean over characters of (|e_t J_t| / |e_t| - 1)^2: e_t
    (H,) is the loss's gradient by h_t, J_t (H, H) the derivative of h_t by h_{t-1}, in which all but the weight is held
    fixed (Pascanu, Mikolov & Bengio 2013, eq. 9).
    """
    return _Rnn.apply(x, h, weight, bias, omega)  # type: ignore[no-untyped-call,no-any-return]


class _Rnn(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, omega: float) -> Tensor:
        ctx.omega = omega
        hs = x.new_empty(x.shape[0] + 1, *h.shape)
        hs[0] = h
        transposed = weight.t()
        shifted = x + bias
        for t in range(x.shape[0]):
            torch.addmm(shifted[t], hs[t], transposed, out=hs[t + 1]).tanh_()
        ctx.save_for_backward(hs, weight)
        return hs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        hs, weight = ctx.saved_tensors
        slope = 1 - hs[1:] * hs[1:]
        d_x, errors, passed = torch.empty_like(slope), torch.empty_like(slope), torch.empty_like(slope)
        d_h = torch.zeros_like(hs[0])
        for t in range(len(slope) - 1, -1, -1):
            torch.add(d_h, grads[0][t], out=errors[t])
            torch.mul(errors[t], slope[t], out=d_x[t])
            d_h = torch.mm(d_x[t], weight, out=passed[t])
        flat = d_x.flatten(0, 1)
        d_weight = flat.t() @ hs[:-1].flatten(0, 1)
        if ctx.omega:
            d_weight += flat.t() @ (ctx.omega * _omega_slope(errors, passed)).flatten(0, 1)
        return d_x, d_h, d_weight, flat.sum(0), None


def _omega_slope(errors: Tensor, passed: Tensor) -> Tensor:
    """dΩ by `passed` (T, B, H), what the recurrence makes of `errors` (T, B, H) on their way back by one character."""
    # In float64: what has faded is squared here.
    before, after = (torch.linalg.vector_norm(part.double(), dim=-1, keepdim=True) for part in (errors, passed))
    slope = 2 * (after / before - 1) / before * (passed / after) / after.numel()
    # No error, no ratio: 0 / 0 there, which counts for nothing.
    return torch.nan_to_num(slope.to(passed.dtype), 0.0, 0.0, 0.0)

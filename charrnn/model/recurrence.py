"""Fast recurrences: the functions of oneDNN and cuDNN, and two recurrences whose own backward
passes are faster than autograd's.

On a CPU, autograd accumulates the gradient of a recurrent weight once per character: T small
products that each read and write the whole matrix. Here it is one large product per window.
Derivatives of gates that need no recurrence are computed for the whole window at once, too.

torch's operators for packed weights are not public. They are tried once (`can_pack`). If they are
missing or compute something else, plain operators of torch are used instead.

Shapes: T time, B batch, H hidden, G blocks.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from charrnn.model.device import autocast_dtype

aten: Any = torch.ops.aten
"""The operators of torch. Some of them have no public function, such as the derivatives of tanh and
sigmoid by their outputs."""
LEAST_STEPS_TO_PACK = 8
"""A weight is packed only for at least this many products: packing takes about as long as one
product."""
LEAST_FP32_TO_PACK = 2**15
"""Smallest number of entries of an fp32 weight that is packed: calling oneDNN takes longer than
calling BLAS."""


class RepeatedProduct:
    """Multiply many x (B, K), one at a time, by a weight (N, K) of the same dtype: x @ weight.T.

    On a CPU, matrix products rearrange the weight at every call. Here it is packed once in the
    layout of oneDNN's kernels: 64 x 512 by 512 x 1536 takes 207 instead of 238 microseconds in
    bf16, and 387 instead of 1,144 in fp32 (one core of a Zen 5, for which the BLAS of torch has no
    kernels of its own).
    """

    def __init__(self, weight: Tensor, shape: Sequence[int]):
        """Pack the weight if that makes T products with x of B rows faster: `shape` is (T, B, …),
        as of a window."""
        num_steps, batch_size, *_ = shape
        self._transposed = weight.t()
        self._packed: Tensor | None = None

        # Packing pays for large weights and many steps, if this version of torch can do it.
        is_faster = weight.dtype == torch.bfloat16 or (
            weight.dtype == torch.float32 and weight.numel() >= LEAST_FP32_TO_PACK
        )
        if (
            is_faster
            and weight.device.type == "cpu"
            and num_steps >= LEAST_STEPS_TO_PACK
            and can_pack(weight.dtype)
        ):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), batch_size)

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Compute the product (B, N), plus bias (N,)."""
        if self._packed is not None:
            # The operators take no keywords; "none" means that no function is applied to the
            # product.
            product: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self._packed, bias, "none", [], ""
            )
            return product
        if bias is None:
            return x @ self._transposed
        return torch.addmm(bias, x, self._transposed)

    def plus(self, x: Tensor, added: Tensor) -> Tensor:
        """Compute the product plus `added` (B, N), in a new tensor."""
        if self._packed is not None:
            pointwise = torch.ops.mkldnn._linear_pointwise
            total: Tensor = pointwise.binary(x, added, self._packed, None, "add")
            return total
        return torch.addmm(added, x, self._transposed)


@lru_cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this version of torch multiplies by packed weights of that dtype on this processor.

    The tested operators are those that torch's own compiler calls.
    """
    # A product of ones: each entry is a sum of three ones, plus one.
    x = torch.ones(2, 3, dtype=dtype)
    weight = torch.ones(4, 3, dtype=dtype)
    ones = torch.ones(2, 4, dtype=dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 2)
        product = torch.ops.mkldnn._linear_pointwise(x, packed, ones[0], "none", [], "")
        total = torch.ops.mkldnn._linear_pointwise.binary(x, ones, packed, None, "add")
    except (AttributeError, RuntimeError, TypeError):
        # The operator is missing, takes other arguments, or has no kernel for this processor.
        return False

    return torch.equal(product, 4 * ones) and torch.equal(total, 4 * ones)


def recurrent_product(
    weight: Tensor, bias: Tensor, shape: Sequence[int]
) -> Callable[[Tensor], Tensor]:
    """Return the function h -> h @ weight.T + bias for every step of a window of that shape (T, B,
    …); the gradients of weight and bias are computed by one product at the end.

    A layer that computes step by step multiplies by it: autograd's own way adds to the gradient of
    the weight at every character.

    weight (G*H, H), bias (G*H,), h (B, H). The function serves one forward and one backward pass.
    The product (B, G*H) has the weight's precision.
    """
    window = _Window(weight.detach(), bias=bias.detach(), shape=shape)
    # Every step depends on this token, so autograd reaches `_Enter` after all steps.
    token = _Enter.apply(weight, bias, window)  # type: ignore[no-untyped-call]

    def product(h: Tensor) -> Tensor:
        # Without gradients there is nothing to record.
        if not torch.is_grad_enabled():
            return window.forward(h.to(window.weight.dtype), window.bias)
        multiplied: Tensor = _WindowStep.apply(h, token, window)  # type: ignore[no-untyped-call]
        return multiplied

    return product


class _Window:
    """Shared by the steps of one window: the products with the weight and its transpose, and the
    recorded inputs."""

    def __init__(self, weight: Tensor, bias: Tensor, shape: Sequence[int]):
        self.weight = weight
        self.bias = bias
        self.shape = shape
        self.forward = RepeatedProduct(weight, shape=shape)
        self.tape: list[tuple[Tensor, Tensor]] = []

    @cached_property
    def backward(self) -> RepeatedProduct:
        """The product with the transposed weight. It is packed only when a backward pass begins,
        because validation has none."""
        return RepeatedProduct(self.weight.t(), shape=self.shape)


class _Enter(Function):
    """The start of a window: its forward pass takes weight and bias, and its backward pass returns
    the gradients of both."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, window: _Window) -> Tensor:
        ctx.window = window
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        # All steps are on the tape now: one product of all their rows gives the gradient.
        d_products = torch.cat([d_product for d_product, _ in ctx.window.tape])
        hs = torch.cat([h for _, h in ctx.window.tape])
        ctx.window.tape.clear()
        return d_products.t() @ hs, d_products.sum(0), None


class _WindowStep(Function):
    """One step; its backward pass records the two factors of the weight's gradient."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, token: Tensor, window: _Window) -> Tensor:
        ctx.h = h.to(window.weight.dtype)
        ctx.window = window
        return window.forward(ctx.h, window.bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        d_product = grads[0].to(ctx.h.dtype)
        ctx.window.tape.append((d_product, ctx.h))

        # The gradient of the token only makes autograd continue to `_Enter`.
        return ctx.window.backward(d_product), d_product.new_zeros(()), None


class FusedGru(Function):
    """Compute all outputs (T, B, H) of a GRU with the blocks r, z, n, as in `cell_types.Gru`.

    `apply` takes the input product x (T, B, 3*H) with its bias, the state h (B, H), the weight
    (3*H, H) and the bias (3*H,) of the recurrent product.

    It uses as few operations per character as possible, because below some 256 units most of the
    time is spent on calling operations: recurrent products are added to the input products, views
    are made once, and everything that does not depend on the gradient from later characters is
    computed for the whole window.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        """Compute the outputs, and keep the gates for the backward pass."""
        num_gates = 2 * h.shape[-1]  # columns of r and z

        # Compute for the whole window what does not depend on h.
        hs = x.new_empty(len(x) + 1, *h.shape)
        n = x.new_empty(len(x), *h.shape)
        # `blocks` holds r, z and the recurrent product of n.
        blocks = torch.empty_like(x)
        torch.add(x[..., :num_gates], bias[:num_gates], out=blocks[..., :num_gates])
        blocks[..., num_gates:] = bias[num_gates:]
        hs[0] = h

        # Make the views of every step before the loop.
        r, z, u_n = [block.unbind() for block in blocks.chunk(3, dim=-1)]
        gates = blocks[..., :num_gates].unbind()
        x_n = x[..., num_gates:].unbind()
        steps = hs.unbind()
        product = RepeatedProduct(weight, shape=x.shape)

        # Forward in time. `blocks` keeps the gates, which the backward pass needs.
        for t, (block, n_t) in enumerate(zip(blocks.unbind(), n.unbind(), strict=True)):
            total = product.plus(steps[t], block)
            torch.sigmoid(total[:, :num_gates], out=gates[t])
            u_n[t].copy_(total[:, num_gates:])
            torch.addcmul(x_n[t], r[t], u_n[t], out=n_t).tanh_()
            torch.lerp(n_t, steps[t], z[t], out=steps[t + 1])

        ctx.save_for_backward(hs, blocks, n, weight)
        return hs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the gradients of the arguments from those of the outputs."""
        hs, blocks, n, weight = ctx.saved_tensors
        r, z, u_n = blocks.chunk(3, dim=-1)

        # Compute the derivatives of h_t by x_n, and by the three blocks of the product.
        by_n = aten.tanh_backward(1 - z, n)
        d_product = torch.empty_like(blocks)
        by_blocks = d_product.chunk(3, dim=-1)
        aten.sigmoid_backward(by_n * u_n, r, grad_input=by_blocks[0])
        aten.sigmoid_backward(hs[:-1] - n, z, grad_input=by_blocks[1])
        torch.mul(by_n, r, out=by_blocks[2])

        # Backward in time: multiply the error of h_t by these derivatives, and carry it on to
        # h_(t-1).
        product = RepeatedProduct(weight.t(), shape=n.shape)
        d_products = d_product.unbind()
        zs = z.unbind()
        d_outputs = grads[0].unbind()
        by_block = torch.unflatten(d_product, -1, (3, -1)).unbind()
        errors = [d_outputs[-1]]
        for t in range(len(n) - 1, -1, -1):
            by_block[t].mul_(errors[-1][:, None])
            if t > 0:
                carried = torch.addcmul(d_outputs[t - 1], errors[-1], zs[t])
            else:
                carried = errors[-1] * zs[t]
            errors.append(product.plus(d_products[t], carried))
        d_h = errors.pop()

        # The gradients of the weights: one product for all steps.
        flat = d_product.flatten(0, 1)
        d_weight = flat.t() @ hs[:-1].flatten(0, 1)
        d_bias = flat.sum(0)

        # The gradient of x differs from the gradient of the product only in block n.
        torch.mul(torch.stack(errors[::-1]), by_n, out=by_blocks[2])
        return d_product, d_h, d_weight, d_bias


class FusedRnn(Function):
    """Compute all h_t = tanh(x_t + W h_(t-1) + b) (T, B, H), with as few operations per character
    as `FusedGru`, and with its arguments, of one block."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        """Compute the outputs."""
        # Row t + 1 is first x_t + b; the loop replaces it by h_t in place.
        hs = x.new_empty(len(x) + 1, *h.shape)
        hs[0] = h
        torch.add(x, bias, out=hs[1:])

        product = RepeatedProduct(weight, shape=x.shape)
        before, *steps = hs.unbind()
        for step in steps:
            before = torch.tanh(product.plus(before, step), out=step)

        ctx.save_for_backward(hs, weight)
        return hs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the gradients of the arguments from those of the outputs."""
        hs, weight = ctx.saved_tensors
        d_x = torch.empty_like(hs[1:])

        # Make the views of every step before the loop.
        d_xs = d_x.unbind()
        steps = hs.unbind()
        d_outputs = grads[0].unbind()

        # Backward in time: pass the error of h_t through tanh, and carry it on to h_(t-1).
        product = RepeatedProduct(weight.t(), shape=d_x.shape)
        error = d_outputs[-1]
        for t in range(len(d_xs) - 1, -1, -1):
            aten.tanh_backward(error, steps[t + 1], grad_input=d_xs[t])
            d_output = d_outputs[t - 1] if t > 0 else torch.zeros_like(error)
            error = product.plus(d_xs[t], d_output)

        # The gradients of the weights: one product for all steps.
        flat = d_x.flatten(0, 1)
        d_weight = flat.t() @ hs[:-1].flatten(0, 1)
        return d_x, error, d_weight, flat.sum(0)


class Scan(Function):
    """Compute all h_t = a_t * h_{t-1} + b_t (T, B, H) from a, b (T, B, H) and the state h (B, H).

    This is a loop over T, with one operation per character in the forward pass and one in the
    backward pass: a parallel scan of log T steps reads and writes the whole window in each step,
    which is slower (benchmarks/LOG.md).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h: Tensor) -> Tensor:
        """Compute the outputs."""
        hs = b.new_empty(len(b) + 1, *h.shape)
        hs[0] = h
        before, *steps = hs.unbind()
        for step, a_t, b_t in zip(steps, a.unbind(), b.unbind(), strict=True):
            before = torch.addcmul(b_t, a_t, before, out=step)
        ctx.save_for_backward(a, hs)
        return hs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the gradients of the arguments from those of the outputs."""
        a, hs = ctx.saved_tensors

        # The gradient of b_t is the error of h_t: the gradient of the output, plus a_(t+1) times
        # the error of h_(t+1). The incoming gradient is copied, because it must not be changed.
        d_b = grads[0].clone(memory_format=torch.contiguous_format)
        steps = d_b.unbind()
        decays = a.unbind()
        for t in range(len(steps) - 1, 0, -1):
            steps[t - 1].addcmul_(decays[t], steps[t])

        return d_b * hs[:-1], d_b, d_b[0] * a[0]


FUSED: dict[str, type[Function]] = {"gru": FusedGru, "rnn": FusedRnn}
"""The fused loops."""
FUNCTIONS = {"lstm": "lstm", "gru": "gru", "rnn": "rnn_tanh", "irnn": "rnn_relu"}
"""The functions of torch that compute a cell type, which `nn.LSTM`, `nn.GRU` and `nn.RNN` call.
They are not documented."""


def run_library(
    cell_name: str,
    inputs: Tensor,
    state: Tensor,
    weights: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Compute all outputs (T, B, H) and the last state (S, B, H) from inputs (T, B, I) and a state
    (S, B, H).

    It is the fastest way for the cell types that torch has, where nothing looks into the layer.

    `weights` are weight_ih (G*H, I), weight_hh (G*H, H), bias_ih (G*H,) and bias_hh (G*H,).
    """
    # Converted weights are one block of memory: otherwise cuDNN copies them at every call, and
    # torch warns about it.
    device = inputs.device
    dtype = autocast_dtype(device, weights[0].dtype)
    autocast: AbstractContextManager[object] = nullcontext()
    if _casts(device, dtype):
        autocast = torch.autocast(device.type, enabled=False)
        inputs = inputs.to(dtype)
        state = state.to(dtype).contiguous()
        buffer = torch.cat([weight.flatten() for weight in weights]).to(dtype)
        copies = torch.split(buffer, [weight.numel() for weight in weights])
        weights = [copy.view(weight.shape) for copy, weight in zip(copies, weights, strict=True)]

    # Only an LSTM has two states, which the function takes and returns as a pair.
    before: Tensor | tuple[Tensor, ...] = state
    if len(state) == 2:
        before = state.chunk(2)

    function: Callable[..., Any] = getattr(torch, FUNCTIONS[cell_name])
    with autocast:
        outputs, *last = function(
            input=inputs,
            hx=before,
            params=list(weights),
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            # Without "train" there is no backward pass on CUDA.
            train=True,
            bidirectional=False,
            batch_first=False,
        )
    return outputs, torch.cat(last)


def _casts(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether arguments are converted here, instead of by torch's autocast.

    On CUDA, autocast uses fp16 instead of bf16. On a CPU, autocast to fp16 calls kernels of oneDNN
    that few processors have.
    """
    return device.type == "cuda" or dtype == torch.float16

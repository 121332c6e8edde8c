"""Draw characters with torch on any device, for gpu_check.py; on an NVIDIA GPU, a block is one
captured CUDA graph.

Python would take longer to launch the kernels of one character than the GPU takes to run them. A
graph is launched as a whole: it reads and writes the same memory every time, so its inputs and
results are buffers. Without CUDA the same operations run one by one.

Shapes: B streams, N characters of a block, V vocabulary; state as in `model.network`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from charrnn.compiled.sampling import DrawnBlock
from charrnn.config.settings import Config
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.sampling import Ids, random_numbers_of
from charrnn.model.device import to_device
from charrnn.model.layer import TORCH
from charrnn.model.network import load_network
from charrnn.model.reading import WINDOW

BLOCK = 32
"""N: characters of a stream that one graph draws."""
WARM_UPS = 3
"""Blocks that are drawn before one is captured: libraries choose kernels and allocate memory when
they are first used, which cannot be captured
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs)."""


class GraphSampler:
    """Draws texts of one model, B at a time, in fp32, as `sampling.Rows` does for the
    same seeds.

    Two such samplers differ in draws within rounding (about 1e-6) of a border between two
    characters.
    """

    def __init__(
        self,
        config: Config,
        vocab_size: int,
        tensors: Mapping[str, Tensor],
        shapings: Sequence[SampleOptions],
        device: torch.device,
        *,
        banned: Sequence[int] = (),
        block: int = BLOCK,
        captures: bool = True,
    ) -> None:
        """Load the weights `tensors` to a device, for one stream per shaping. Ids that are `banned`
        are never drawn.

        Without `captures`, operations run one by one on CUDA, too. Raises CheckpointError if the
        weights do not fit the configuration.
        """
        self._network = (
            load_network(config, vocab_size, dict(tensors)).to(device).requires_grad_(False)
        )
        # The network would look at the ids in main memory, for which a graph cannot wait;
        # `_advance` resets states.
        self._network.end_id, self._end_id = None, config.end_id
        # The equations themselves: cuDNN would copy all weights for every character.
        self._ops = dict.fromkeys(range(len(self._network.recurrent_layers())), TORCH)
        self._device = device
        self._limits = _Limits(shapings, vocab_size, device, banned)
        num_streams = len(shapings)
        self._initial = self._network.initial_state(num_streams)
        self._state = self._initial.clone()
        self._logits = torch.zeros(num_streams, vocab_size, device=device)
        self._uniforms = torch.zeros(block, num_streams, dtype=torch.float64, device=device)
        self._ids = torch.zeros(block, num_streams, dtype=torch.int64, device=device)
        self._logprobs = torch.zeros(block, num_streams, dtype=torch.float64, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        if captures and device.type == "cuda":
            with torch.no_grad():
                self._graph = self._capture()

    @property
    def is_captured(self) -> bool:
        """Whether a graph draws the blocks."""
        return self._graph is not None

    def sample(self, prime: Ids, seeds: Sequence[int], length: int) -> Iterator[DrawnBlock]:
        """Yield `length` characters of each of B streams after the ids (N,) of a prime, N >= 1,
        block by block.

        Stream b draws one uniform number per character from `random_numbers_of(seeds[b])`.
        """
        generators = [random_numbers_of(seed) for seed in seeds]
        self._read(prime)
        size, num_streams = self._uniforms.shape
        for begin in range(0, length, size):
            # The last block draws more than is needed.
            count = min(size, length - begin)
            uniforms = np.zeros((size, num_streams))
            uniforms[:count] = np.stack(
                [generator.random(count) for generator in generators], axis=1
            )
            ids, logprobs = self._draw(uniforms)
            yield DrawnBlock(
                ids=ids.T[:, :count],
                logprobs=logprobs.T[:, :count],
                lengths=np.full(num_streams, count),
            )

    @torch.no_grad()
    def _read(self, prime: Ids) -> None:
        """Read the prime in one stream, and copy its logits and state to all."""
        cuts = {
            *range(0, len(prime), WINDOW),
            *np.flatnonzero(prime == self._end_id).tolist(),
            len(prime),
        }
        start = self._initial.narrow(-2, 0, 1)
        state = start
        for begin, end in pairwise(sorted(cuts)):
            if prime[begin] == self._end_id:
                state = start
            ids = to_device(torch.from_numpy(prime[begin:end, None].astype(np.int64)), self._device)
            logits, state = self._network(ids, state)
        self._logits.copy_(logits[-1].expand_as(self._logits))
        self._state.copy_(state.expand_as(self._state))

    @torch.no_grad()
    def _draw(self, uniforms: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Draw a block with uniforms (N, B): ids (N, B) and log-probabilities (N, B)."""
        self._uniforms.copy_(to_device(torch.from_numpy(uniforms), self._device))
        if self._graph is None:
            self._advance()
        else:
            self._graph.replay()
        return self._ids.cpu().numpy().copy(), self._logprobs.cpu().numpy().copy()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Capture `_advance`, after it ran on a stream of its own."""
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._advance()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._advance()
        return graph

    def _advance(self) -> None:
        """Draw a block: from the buffers of uniforms, logits and state to those of ids, logits and
        state."""
        logits, state = self._logits, self._state
        for number, uniforms in enumerate(self._uniforms):
            ids = draw_ids(self._limits.probabilities(logits), uniforms)
            self._ids[number] = ids
            self._logprobs[number] = logits.double().log_softmax(-1).gather(-1, ids[:, None])[:, 0]
            logits, state = self._step(ids, state)
        self._logits.copy_(logits)
        self._state.copy_(state)

    def _step(self, ids: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ids (B,) and a state to logits (B, V) and the new state."""
        if self._end_id is not None:
            state = torch.where((ids == self._end_id)[:, None], self._initial, state)
        logits, state = self._network(ids[None], state, ops=self._ops)
        return logits[0], state


class _Limits:
    """The shapings of B streams as tensors, for `distribution.char_weights` in torch."""

    def __init__(
        self,
        shapings: Sequence[SampleOptions],
        vocab_size: int,
        device: torch.device,
        banned: Sequence[int],
    ) -> None:
        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device=device)[:, None]

        is_banned = torch.zeros(vocab_size, dtype=torch.bool)
        is_banned[list(banned)] = True
        self._is_banned = is_banned.to(device)
        # Greedy is the most likely character alone, at any temperature.
        self._temperature = column([shaping.temperature or 1.0 for shaping in shapings])
        counts = [
            1 if shaping.temperature == 0 else shaping.top_k or vocab_size for shaping in shapings
        ]
        self._top_k = column([min(count, vocab_size) for count in counts])
        self._top_p = column(
            [2.0 if shaping.top_p is None else shaping.top_p for shaping in shapings]
        )
        self._min_p = column([shaping.min_p or 0.0 for shaping in shapings])
        self._ranks = torch.arange(vocab_size, device=device)
        # Sorting is only needed for some of them.
        self._keeps_all = min(counts) >= vocab_size and all(
            shaping.top_p is None for shaping in shapings
        )

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities (B, V) in float64, up to a factor, for logits (B, V)."""
        scores = logits.double().masked_fill(self._is_banned, -torch.inf)
        scores = scores - scores.amax(-1, keepdim=True)
        probs = (scores / self._temperature).exp()
        if not self._keeps_all:
            order = scores.argsort(stable=True, dim=-1, descending=True)
            ordered = probs.gather(-1, order).masked_fill(self._ranks >= self._top_k, 0.0)
            sums = ordered.cumsum(-1)
            # The most likely character is kept, and every other one before which there is less than
            # top_p in all.
            before = pad(sums[:, :-1], (1, 0), value=-1.0)
            ordered = ordered.masked_fill(before >= self._top_p * sums[:, -1:], 0.0)
            probs = torch.zeros_like(probs).scatter(-1, order, ordered)
        return probs.masked_fill(probs < self._min_p * probs.amax(-1, keepdim=True), 0.0)


def draw_ids(probs: Tensor, uniforms: Tensor) -> Tensor:
    """Draw ids (B,) from probabilities (B, V), up to a factor, by inverting their running sum at
    uniforms (B,)."""
    cumulative = probs.cumsum(-1)
    drawn = torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
    # Rounding may take the product to the whole sum.
    last = (probs.shape[-1] - 1) - (probs > 0).flip(-1).int().argmax(-1)
    return torch.minimum(drawn, last)

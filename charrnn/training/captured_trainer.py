"""A trainer that launches the operations of a step on a GPU by one call: a captured CUDA graph.

A processor takes longer to launch the kernels of a small network than a GPU takes to run them. A
graph launches them as a whole. It reads and writes the same memory at every launch, so whatever
changes from step to step is copied into buffers first (`StepBuffers`), and what the processor
decides stays outside: the learning rate, the number of the step, whether the gradient is finite.

torch restricts what can be captured (https://docs.pytorch.org/docs/stable/notes/cuda.html):

- Nothing in it may wait for the GPU, or depend on a value that the GPU computes.
- Libraries choose kernels and allocate memory when they are first used. So a function runs
  WARM_UPS times, kernel by kernel, before it is captured.
- Autograd and cuBLAS remember the stream on which they ran first. So the warm-up and the capture
  use the same stream, which is not the default stream (pytorch/pytorch#180090, #187745).
- One graph is one step: a graph of several steps would have to draw the learning rate and the
  masks of all of them ahead.

Shapes: T window length, B batch rows of this process.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor

from charrnn.config.settings import Config
from charrnn.errors import shortened
from charrnn.model.device import to_device
from charrnn.model.noise import Noise, draw_mask
from charrnn.text.batches import BatchRows
from charrnn.text.vocab import IdArray
from charrnn.training.computing import Computing
from charrnn.training.optim import Muon
from charrnn.training.trainer import Trainer, Window, WindowResult

WARM_UPS = 5
"""Calls of a function before it is captured."""

DRAWN_AHEAD = 4
"""Steps whose masks are drawn ahead, each by a thread of its own. To draw a mask for a weight of
2,048 x 512 takes a thread 5 to 12 ms, longer than a GPU takes for the whole step."""
ONE_BY_ONE = "each kernel of a step is launched on its own, which is slower"
"""What a user is told if steps are not captured, before the reason."""

Result = TypeVar("Result")
"""What a captured function returns: tensors that every launch overwrites."""


def capture_obstacle(config: Config, num_processes: int) -> str | None:
    """Return why the steps of a configuration cannot be captured on a GPU; None if they can."""
    # The first that holds is reported.
    obstacles = {
        "capture is off": config.capture == "off",
        "several processes exchange their gradients": num_processes > 1,
        "the documents of a window are read one by one": config.end_id is not None,
        "only what follows some characters is learned": config.learned_after is not None,
        "omega needs the errors of every character": config.omega > 0,
    }
    return next((obstacle for obstacle, holds in obstacles.items() if holds), None)


def capture_notes(config: Config, computing: Computing) -> list[str]:
    """Describe why the steps of a configuration take longer on a GPU than they could."""
    obstacle = capture_obstacle(config, num_processes=computing.group.size)
    if computing.device.type != "cuda" or obstacle is None:
        return []
    return [f"{ONE_BY_ONE}: {obstacle}"]


@contextmanager
def on_stream(stream: Any) -> Iterator[None]:
    """Launch kernels on another stream inside the `with` block, after all kernels before it and
    before all kernels after it."""
    # Each stream waits for the other: before the block this one, after it the current one.
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)


def capture_graph(function: Callable[[], Result], stream: Any) -> tuple[Result, Callable[[], None]]:
    """Capture the kernels that a function launches, without running them. Return its result, which
    has no values yet, and a function that launches them. Raises RuntimeError."""
    graph = torch.cuda.CUDAGraph()
    # The outer block leaves the stream even if the capture fails, which `torch.cuda.graph` does
    # not do.
    with on_stream(stream), torch.cuda.graph(graph, stream=stream):
        result = function()
    return result, graph.replay


class Capture:
    """The functions of a step that are captured on one device, and what went wrong."""

    def __init__(self, device: torch.device) -> None:
        """Open a stream on the device."""
        self.stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.warnings: list[str] = []
        """Why a function could not be captured, until it is reported."""
        self.has_failed = False

    def fail(self, error: RuntimeError) -> None:
        """Launch kernels one by one from now on, except those that are captured already."""
        self.has_failed = True
        reason = shortened(" ".join(str(error).split()))
        self.warnings.append(f"{ONE_BY_ONE}: the capture failed ({reason})")


class Repeated(Generic[Result]):
    """A function without arguments that reads and writes the same memory at every call: its kernels
    are launched one by one in the first WARM_UPS calls, and together in all later calls."""

    def __init__(self, function: Callable[[], Result], capture: Capture) -> None:
        """Run the function kernel by kernel, until it is captured."""
        self._function = function
        self._capture = capture
        self._num_calls = 0
        self._captured: tuple[Result, Callable[[], None]] | None = None

    def __call__(self) -> Result:
        """Run the function, and return its result; a later call overwrites the tensors in it."""
        if self._captured is None and not self._capture.has_failed:
            if self._num_calls < WARM_UPS:
                self._num_calls += 1
                with on_stream(self._capture.stream):
                    return self._function()
            try:
                self._captured = capture_graph(self._function, self._capture.stream)
            except RuntimeError as error:
                self._capture.fail(error)

        # If one function could not be captured, it returns new tensors at every call. So a function
        # that reads these tensors must not be captured either, and no function is from then on.
        if self._captured is None:
            return self._function()
        result, launch = self._captured
        launch()
        return result


class DrawnStep(NamedTuple):
    """What a step reads, in main memory."""

    window: Window
    generator: Generator
    """Draws the masks that were not drawn ahead."""
    masks: list[Tensor]


class StepBuffers:
    """The window and the masks of a step on a device, in the same memory at every step.

    A network requests the same masks in the same order at every step. So the first step draws each
    mask when it is requested, and all later steps draw them before they begin.
    """

    def __init__(self, window: Window, generator: Generator) -> None:
        """Take the tensors of the first step as buffers; its masks are drawn from `generator`."""
        self.window = window
        self.scale = torch.ones((), device=window.ids.device)
        """The factor of the loss."""
        self.generator = generator
        self._masks: list[tuple[Tensor, float]] = []
        self._num_taken = 0

    def draw_masks(self, generator: Generator) -> list[Tensor]:
        """Draw the masks of another step in main memory; any thread may do that."""
        return [
            draw_mask(mask.shape, share=share, generator=generator) for mask, share in self._masks
        ]

    def load(self, drawn: DrawnStep) -> None:
        """Copy the window and the masks of another step into the buffers."""
        self.generator = drawn.generator
        # In place: the captured kernels read this memory.
        masks = [mask for mask, _ in self._masks]
        for buffer, value in zip(
            (*self.window, *masks), (*drawn.window, *drawn.masks), strict=True
        ):
            buffer.copy_(to_device(value, buffer.device))

    def rewind(self) -> None:
        """Begin a step: the mask that is requested next is the first."""
        self._num_taken = 0

    def take_mask(self, shape: Sequence[int], share: float) -> Tensor:
        """Return the mask that the network requests next."""
        if self._num_taken == len(self._masks):
            drawn = draw_mask(shape, share=share, generator=self.generator)
            self._masks.append((to_device(drawn, self.window.ids.device), share))
        self._num_taken += 1
        return self._masks[self._num_taken - 1][0]


class CapturedTrainer(Trainer):
    """A trainer of one process on CUDA, which launches the kernels of a step together.

    While the device computes a step, the processor draws what the next steps read.
    """

    num_warm_ups = WARM_UPS + 2

    def __init__(
        self, config: Config, batches: BatchRows, vocab_size: int, device: torch.device
    ) -> None:
        """Build the trainer of a configuration that has no `capture_obstacle`."""
        super().__init__(config, batches=batches, vocab_size=vocab_size, device=device)

        # What is captured: the gradients, and, once they are known to be finite, Muon's updates.
        self.capture = Capture(device)
        self.warnings = self.capture.warnings
        self._compute_captured = Repeated(self._compute_buffered, capture=self.capture)
        for optimizer in self.optimizers:
            if isinstance(optimizer, Muon):
                optimizer.compute_updates = Repeated(
                    optimizer.compute_updates, capture=self.capture
                )

        # The first step is loaded now, all later steps while the device computes.
        window, generator = self._window_of_step(self.step, cursor=self.cursor)
        self._buffers = StepBuffers(window.on_device(device), generator=generator)
        self._loaded = (self.step, self.cursor)
        """The step in the buffers, and where its window begins."""
        self._threads = ThreadPoolExecutor(DRAWN_AHEAD)
        self._drawn: dict[tuple[int, int], Future[DrawnStep]] = {}
        """Later steps, which threads draw."""

    def _backpropagate_next_window(self, scale: float) -> WindowResult:
        """Let the device begin to compute the gradients of the next window."""
        self._load(self.step, cursor=self.cursor)
        self._buffers.scale.fill_(scale)
        result = self._compute_captured()

        # The processor draws meanwhile. The copies into the buffers wait until the device has read
        # them.
        for ahead in range(1, DRAWN_AHEAD + 1):
            later = (self.step + ahead, self.cursor + ahead * self._window_length)
            if later not in self._drawn:
                self._drawn[later] = self._threads.submit(self._draw_step, *later)
        self._load(self.step + 1, cursor=self.cursor + self._window_length)
        return result

    def _load(self, step: int, cursor: int) -> None:
        """Copy the window and the masks of a step into the buffers, unless they are there."""
        if self._loaded == (step, cursor):
            return
        self._loaded = (step, cursor)
        drawn = self._drawn.pop(self._loaded, None)
        if drawn is None:
            self._buffers.load(self._draw_step(step, cursor=cursor))
        else:
            self._buffers.load(drawn.result())

    def _draw_step(self, step: int, cursor: int) -> DrawnStep:
        window, generator = self._window_of_step(step, cursor=cursor)
        return DrawnStep(window, generator=generator, masks=self._buffers.draw_masks(generator))

    def _compute_buffered(self) -> WindowResult:
        """Compute the gradients of the step in the buffers."""
        buffers = self._buffers
        buffers.rewind()
        noise = Noise(
            buffers.generator, batch_size=self.batches.batch_size, take_mask=buffers.take_mask
        )
        return self._compute_gradients(buffers.window, noise=noise, scale=buffers.scale)


def build_trainer(
    config: Config,
    batches: BatchRows,
    vocab_size: int,
    computing: Computing,
    learned_after: IdArray | None = None,
) -> Trainer:
    """Build a trainer, which captures its steps if it can. The arguments are those of `Trainer`."""
    # On a CPU nothing is launched, so there is nothing to gain.
    device = computing.device
    if (
        device.type == "cuda"
        and capture_obstacle(config, num_processes=computing.group.size) is None
    ):
        return CapturedTrainer(config, batches=batches, vocab_size=vocab_size, device=device)
    return Trainer(
        config,
        batches=batches,
        vocab_size=vocab_size,
        device=device,
        group=computing.group,
        learned_after=learned_after,
    )

"""Launch the operations of a training step on a GPU by one call: a captured CUDA graph.

A processor takes longer to launch the kernels of a small network than a GPU takes to run them. A
graph launches them as a whole. It reads and writes the same memory at every launch, so whatever
changes from step to step is copied into buffers first (`StepInputs`), and what the processor
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
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor

from charrnn.config.settings import Config
from charrnn.errors import shortened
from charrnn.model.device import to_device
from charrnn.model.noise import draw_mask
from charrnn.training.computing import Computing

WARM_UPS = 5
"""Calls of a function before it is captured."""

DRAWN_AHEAD = 4
"""Steps whose masks are drawn ahead, each by a thread of its own. To draw a mask for a weight of
2,048 x 512 takes a thread 5 to 12 ms, longer than a GPU takes for the whole step."""
ONE_BY_ONE = "each kernel of a step is launched on its own, which is slower"
"""What a user is told if steps are not captured, before the reason."""

Result = TypeVar("Result")
"""What a captured function returns: tensors that every launch overwrites."""


class StepInputs(NamedTuple):
    """The tensors that a step reads beside the weights, the recurrent state and the masks."""

    ids: Tensor
    """(T, B): the window of every batch row."""
    targets: Tensor
    """(T, B): the characters that follow."""
    is_reset: Tensor
    """(B,): the batch rows that forget what they have read; (0,) with documents."""
    scale: Tensor
    """(): the factor of the loss in the backward pass."""

    def on_device(self, device: torch.device) -> "StepInputs":
        """Copy the tensors, which were drawn in main memory, to a device."""
        return StepInputs(*[to_device(tensor, device) for tensor in self])


def capture_obstacle(config: Config, num_processes: int) -> str | None:
    """Return why the steps of a configuration cannot be captured on a GPU; None if they can."""
    obstacles = {
        "capture is off": config.capture == "off",
        "several processes exchange their gradients": num_processes > 1,
        "the documents of a window are read one by one": config.end_id is not None,
        "only what follows some characters is learned": config.learned_after is not None,
        "omega needs the errors of every character": config.omega > 0,
    }
    return next((obstacle for obstacle, holds in obstacles.items() if holds), None)


def capture_note(config: Config, computing: Computing) -> list[str]:
    """Describe why the steps of a configuration take longer on a GPU than they could."""
    obstacle = capture_obstacle(config, computing.group.size)
    if computing.device.type != "cuda" or obstacle is None:
        return []
    return [f"{ONE_BY_ONE}: {obstacle}"]


@contextmanager
def on_stream(stream: Any) -> Iterator[None]:
    """Launch kernels on another stream inside the `with` block, after all kernels before it and
    before all kernels after it."""
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


def open_capture(config: Config, device: torch.device, num_processes: int) -> Capture | None:
    """Return a capture for the steps of a configuration; None if they cannot be captured."""
    if device.type != "cuda" or capture_obstacle(config, num_processes) is not None:
        return None
    return Capture(device)


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


class StepBuffers:
    """The inputs and the masks of a step on a device, in the same memory at every step.

    A network requests the same masks in the same order at every step. So the first step draws each
    mask when it is requested, and all later steps draw them before they begin.
    """

    def __init__(self, inputs: StepInputs, generator: Generator) -> None:
        """Take the tensors of the first step as buffers; its masks are drawn from `generator`."""
        self.inputs = inputs
        self.generator = generator
        self._masks: list[tuple[Tensor, float]] = []
        self._num_taken = 0

    def draw_masks(self, generator: Generator) -> list[Tensor]:
        """Draw the masks of another step in main memory; any thread may do that."""
        return [
            draw_mask(mask.shape, share=share, generator=generator) for mask, share in self._masks
        ]

    def load(self, inputs: StepInputs, masks: Sequence[Tensor]) -> None:
        """Copy the inputs and the masks of another step into the buffers."""
        for buffer, value in zip(self.inputs, inputs, strict=True):
            buffer.copy_(to_device(value, buffer.device))
        for (mask, _), drawn in zip(self._masks, masks, strict=True):
            mask.copy_(to_device(drawn, mask.device))

    def rewind(self) -> None:
        """Begin a step: the mask that is requested next is the first."""
        self._num_taken = 0

    def take_mask(self, shape: Sequence[int], share: float) -> Tensor:
        """Return the mask that the network requests next."""
        if self._num_taken == len(self._masks):
            drawn = draw_mask(shape, share=share, generator=self.generator)
            self._masks.append((to_device(drawn, self.inputs.ids.device), share))
        self._num_taken += 1
        return self._masks[self._num_taken - 1][0]

"""`visualize --gradients`, `--spectrum` and `--gates`: how far gradients reach back, and what
multiplies them.

A gradient of a plain rnn that goes back one character is multiplied by diag(tanh') W_hh'. As tanh'
<= 1, it vanishes if the largest singular value of W_hh is below 1; that it is above 1 is necessary
for it to explode (Hochreiter 1991; Pascanu, Mikolov & Bengio 2013, section 2.1). That of a memory
with gates is multiplied by the gate that keeps it: gates are counted where they are saturated,
after Karpathy, Johnson & Li (2015), Figure 3.

Shapes: N characters, K lags, T time, B windows, L, S and H as in `model.network`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from charrnn.analyses.history import FEW_STEPS, run_folder
from charrnn.analyses.numbers import DOUBLE, Doubles, block_letters
from charrnn.analyses.sampled_states import read_before
from charrnn.api import Model, TextOrIds, load_steps, open_folder
from charrnn.cells.activations import Activations
from charrnn.cells.findings import GateUse
from charrnn.cells.gates import GATE_NAMES
from charrnn.cli.analyses import Analysis, Option, Shown, Subject
from charrnn.cli.arguments import load_model
from charrnn.config.settings import Config, resolved
from charrnn.errors import DataError, UsageError, check_range, named
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import CELLS, LinearCell, Unitary
from charrnn.model.reading import WARM_UP
from charrnn.model.recurrent_state import RecurrentState
from charrnn.model.walk import Architecture
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import CHECKPOINTS
from charrnn.system.display import Displayable, RecordTuple
from charrnn.system.files import JSON
from charrnn.system.lazy import Tensor, torch
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText
from charrnn.views.charts import (
    MAX_TICKS,
    Canvas,
    Line,
    LineChart,
    Point,
    Tick,
    round_step,
    ticks_from_zero,
)

MAX_LAG = 200
"""The longest lag of a gradient, in characters, unless another is asked for."""

NUM_LOSSES = 128
"""Losses whose gradients are averaged, at most: more take longer and hardly change the mean."""
NUM_AT_ONCE = 16
"""B: windows that are differentiated at once, at least; more while their states are within
MAX_KEPT_STATES."""
MAX_KEPT_STATES = 2**21
"""Numbers in the states of a batch of windows: about 200 MB with the activations that are kept for
the gradient."""
TITLE = "Mean norm of the loss's gradient by earlier states (nats)"
"""Title of the chart."""
EMPTY_NOTICE = "There is nothing to draw between 1e-12 and 1e12."
"""Shown instead of an empty chart."""
LOWEST = -12
HIGHEST = 12
"""Powers of ten outside which norms are not drawn: one that vanishes to 1e-60 would flatten all
other lines."""


WITH = Option(
    "--with",
    "With --gradients or --spectrum: add another run to the charts (repeatable).",
    "RUN",
    name="beside",
    repeatable=True,
)
"""For `Analysis.options`: further runs that share a chart; `subject.value(WITH)` has their names.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientReach(Displayable):
    """How far gradients reach back in a model.

    `norms[layer][i]` is the norm of the gradient of the loss at a character (nats) by the state of
    that layer `lags[i]` characters before, averaged over `num_losses` characters of a text.
    `is_untrained`: of an untrained baseline.
    """

    name: str
    lags: tuple[int, ...]
    norms: tuple[tuple[float, ...], ...] = field(repr=False)
    num_losses: int
    is_untrained: bool = False

    def view(self) -> Sequence[RenderableType]:
        """Return the chart of the norms."""
        return [gradient_chart([self])]


def gradients(
    model: Model, text: TextOrIds, *, context: str | bytes = "", max_lag: int = MAX_LAG
) -> GradientReach:
    """Compute how far the gradient reaches back in `text`, read after `context`: its mean norm by
    lag.

    Raises UsageError for a `max_lag` under 1, DataError for a text too short.
    """
    encoded = model.encode(text, context=context)
    return measure_reach(model.network, encoded, max_lag=max_lag, name=model.name)


def gradients_with(
    model: Model,
    others: Iterable[Model],
    text: str | bytes,
    *,
    context: str | bytes = "",
    max_lag: int = MAX_LAG,
) -> tuple[GradientReach, ...]:
    """Compute `gradients` of a model and of other models over the same text, each with its
    untrained baseline.

    Each model encodes the text by its own alphabet. Raises as `gradients`.
    """

    reaches = []
    for one in (model, *others):
        encoded = one.encode(text, context=context)
        reaches.append(measure_reach(one.network, encoded, max_lag=max_lag, name=one.name))
        untrained = measure_reach(
            one.untrained_baseline(), encoded, max_lag=max_lag, name=f"{one.name}, untrained"
        )
        reaches.append(replace(untrained, is_untrained=True))
    return RecordTuple(reaches)


def measure_reach(
    network: CharRNN, text: EncodedText, *, max_lag: int = MAX_LAG, name: str = "model"
) -> GradientReach:
    """Compute the mean norm of d loss_t / d state_{t-k} for k from 1 to `max_lag`, per layer.

    loss_t is -ln p(character t + 1) in nats, for up to NUM_LOSSES characters t spread over the
    text. state_{t-k} is all that a layer carries from character t - k to the next one (h and c; in
    a dilated layer also the queue of its latest states, with attention its last outputs), with the
    states of the other layers fixed. Each window is warmed up on up to 512 characters in float32;
    the rest is computed in float64, because the norms fall far below the resolution of float32.

    Raises UsageError for a `max_lag` under 1, DataError for a text too short.
    """
    check_range("max_lag", max_lag, 1)
    ids = text.ids
    last = len(ids) - 2
    if last < max(text.first, max_lag):
        raise DataError(
            f"A lag of {max_lag} characters needs a text of at least 2, and with its context of at"
            f" least {max_lag + 2}; it has {len(text)}, and {len(ids)} with its context."
            f" Give a longer {named('text')}."
        )

    # In a short text, half of the characters warm up the state.
    earliest = max(text.first, max_lag + min(WARM_UP, (last - max_lag) // 2))
    warm_up = min(WARM_UP, earliest - max_lag + 1)
    chosen = np.unique(np.linspace(earliest, last, NUM_LOSSES).astype(np.int64))

    # A step of a small network costs the same for more windows.
    exact = deepcopy(network).double().requires_grad_(False)
    total = torch.zeros(max_lag, len(network.layers), dtype=torch.float64)
    num_kept = max_lag * network.initial_state(1).vectors.numel()
    num_at_once = max(NUM_AT_ONCE, MAX_KEPT_STATES // num_kept)
    with task("gradients", len(chosen), unit="losses") as advance:
        for some in np.split(chosen, range(num_at_once, len(chosen), num_at_once)):
            windows, state = read_before(
                network, ids, some + 1, length=max_lag + 1, warm_up=warm_up
            )
            state = RecurrentState(state.vectors.double(), state.history)
            total += _norms(exact, windows, state).sum(-1)
            advance(len(some))
    return GradientReach(
        name=name,
        lags=tuple(range(1, max_lag + 1)),
        norms=tuple(map(tuple, (total / len(chosen)).T.tolist())),
        num_losses=len(chosen),
    )


def _norms(network: CharRNN, ids: Tensor, state: RecurrentState[Tensor]) -> Tensor:
    """Compute the norms (K, L, B), lag 1 first, of the gradients of the last character's loss by
    the states before it.

    ids (K + 1, B) are read from a state of B rows, whose last ids are the ones to predict.
    """
    states = []
    state.vectors.requires_grad_()
    for char in ids[:-1]:
        states.append(state.vectors)
        logits, state = network(char[None], state)
    loss = torch.nn.functional.cross_entropy(logits[0], ids[-1], reduction="sum")
    gradients = torch.autograd.grad(loss, states[::-1])
    return torch.stack([torch.linalg.vector_norm(gradient, dim=(1, 3)) for gradient in gradients])


def gradient_chart(reaches: Sequence[GradientReach], title: str = TITLE) -> LineChart:
    """Draw the mean gradient norm of the loss by each layer's state k characters before, against k.

    A straight falling line is a gradient that vanishes by the same factor at every character; a
    rising one explodes. Norms below 1e-12 or above 1e12 are not drawn.
    """
    lines: list[Line] = []
    for reach in reaches:
        for layer, norms in enumerate(reach.norms):
            name = reach.name
            if len(reach.norms) > 1:
                name += f", layer {layer}"
            points = zip(reach.lags, norms, strict=True)
            lines.append(Line(name, log_segments(points), len(lines)))
    return line_chart(
        title, lines, power_ticks(lines), empty=EMPTY_NOTICE, first=1, label="characters before"
    )


def log_segments(points: Iterable[Point]) -> list[list[Point]]:
    """Return log10 of norms by their places, in one segment for each part between 1e-12 and
    1e12."""
    segments = []
    for is_drawn, part in groupby(points, lambda point: 10.0**LOWEST <= point[1] <= 10.0**HIGHEST):
        if is_drawn:
            segments.append([(place, math.log10(norm)) for place, norm in part])
    return segments


def power_ticks(lines: Iterable[Line]) -> list[Tick]:
    """Return the ticks of an axis of powers of ten that enclose the points of lines."""
    heights = [height for _, height in _points(lines)] or [0.0]
    low = math.floor(min(heights))
    high = max(math.ceil(max(heights)), low + 1)
    step = math.ceil((high - low) / (MAX_TICKS - 1))
    lowest = high - step * math.ceil((high - low) / step)
    return [(tick, f"1e{tick}") for tick in range(lowest, high + 1, step)]


def _points(lines: Iterable[Line]) -> list[Point]:
    """Return the points of all lines."""
    segments = chain.from_iterable(line.segments for line in lines)
    return list(chain.from_iterable(segments))


GRADIENTS = Option("--gradients", "Show how the gradient decays or grows with distance.", kind=bool)
"""Selects the analysis."""


def _measure(subject: Subject) -> tuple[GradientReach, ...]:
    others = [
        load_model(name, quiet=subject.options.values["--quiet"])
        for name in subject.value(WITH) or ()
    ]
    return gradients_with(subject.model, others, subject.content, context=subject.context)


def _show(subject: Subject, reaches: Sequence[GradientReach]) -> Shown:
    """Draw how far the gradient of each network reaches back: one run in one chart, several in
    two."""
    pictures: list[RenderableType] = [gradient_chart(reaches)]
    trained = [reach for reach in reaches if not reach.is_untrained]
    untrained = [reach for reach in reaches if reach.is_untrained]
    if len(trained) > 1:
        pictures = [
            gradient_chart(trained, f"{TITLE}, trained"),
            gradient_chart(untrained, f"{TITLE}, untrained"),
        ]
    return Shown(
        f"Gradients of {reaches[0].name}", pictures, [reach.to_json() for reach in reaches]
    )


SPECTRUM_TITLE = (
    "Largest singular value of the recurrent matrix, of the blocks of gates the largest"
)
"""Title of the first chart."""
MAX_NORMS = 1_000
"""Gradient norms of a run at most: more steps are grouped, and the largest norm of each group is
kept."""
Place = tuple[int, str, str]
"""Layer, matrix and gate, as in `MatrixSpectrum`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixSpectrum:
    """The largest singular value of one recurrent matrix (H, H) at every checkpoint."""

    layer: int
    matrix: str
    """`W_hh`, `W_mh`, or `U` for the matrix of a unitary cell."""
    gate: str
    """The letter of the gate or candidate whose block of rows it is; "" for a cell type without
    gates."""
    largest_singular_values: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpectrum(Displayable):
    """The recurrent matrices of a run at its checkpoints, and the norms of its gradients."""

    name: str
    cell: str
    clip_norm: float
    """Norm to which larger gradients are clipped."""
    steps: tuple[int, ...]
    """The steps of the checkpoints."""
    matrices: tuple[MatrixSpectrum, ...]
    gradient_steps: tuple[int, ...] = field(repr=False)
    gradient_norms: tuple[float, ...] = field(repr=False)
    """Norms before clipping; of a long training the largest of each group of steps."""

    def view(self) -> Sequence[RenderableType]:
        """Return the charts of the singular values and of the gradient norms."""
        return [spectrum_chart([self]), norm_chart([self])]


def training_spectrum(
    run: str | Path | None = None, *, checkpoints: Path = CHECKPOINTS
) -> TrainingSpectrum:
    """Measure the recurrent matrices of a run at every checkpoint that is whole, and read its
    gradient norms.

    `run` and what is raised as for `load_steps`.
    """
    folder = open_folder(run, checkpoints)
    config = folder.load_best().description.config()
    if issubclass(cell_type(config.cell), LinearCell):
        raise UsageError(
            f"The cell {config.cell} multiplies its state by gates, not by a matrix: it has no"
            f" spectrum.\n{named('gates')} shows how open the gates are, {named('gradients')} how"
            " far back they reach."
        )
    return measure_spectrum(
        folder.path.name,
        config,
        checkpoints=((model.step, model.tensors) for model in load_steps(folder.path)),
        log=MetricsLog(folder.path / "metrics.jsonl").read(),
    )


def recurrent_matrices(
    config: Config, tensors: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[Place, Doubles]]:
    """Yield every recurrent matrix (H, H) that multiplies the state of a layer, block by block, in
    float64.

    That of an antisymmetric cell is W - W', that of a unitary one the matrix of its rotations.
    """
    cell = cell_type(config.cell)
    size = resolved(config.hidden_size)
    for layer in range(resolved(config.num_layers)):
        for name, num_blocks in cell.products.items():
            weight = np.asarray(tensors[f"layers.{layer}.weight_{name}_l0"], np.float64)
            blocks = np.asarray(cell.effective_weight(weight)).reshape(num_blocks, size, size)
            letters = block_letters(cell, num_blocks)
            for letter, block in zip(letters, blocks, strict=True):
                yield (layer, f"W_{name}", letter), block
        if cell is Unitary:
            extras = Architecture.of(config).extras_of(layer, tensors, np.float64)
            rotated: Doubles = np.concatenate(Unitary.rotate(DOUBLE, np.eye(size), extras), axis=-1)
            yield (layer, "U", ""), rotated.T


def measure_spectrum(
    name: str,
    config: Config,
    *,
    checkpoints: Iterable[tuple[int, Mapping[str, NDArray[Any]]]],
    log: Iterable[Mapping[str, JSON]],
) -> TrainingSpectrum:
    """Measure the recurrent matrices of (step, tensors) in `checkpoints`; `log` is that of the
    run."""
    steps: list[int] = []
    found: dict[Place, list[float]] = {}
    with task("singular values", unit="matrices") as advance:
        for step, tensors in checkpoints:
            steps.append(step)
            for place, matrix in recurrent_matrices(config, tensors):
                found.setdefault(place, []).append(float(np.linalg.norm(matrix, 2)))
                advance()
    matrices = []
    for (layer, of_matrix, gate), values in found.items():
        spectrum = MatrixSpectrum(
            layer=layer, matrix=of_matrix, gate=gate, largest_singular_values=tuple(values)
        )
        matrices.append(spectrum)
    gradient_steps, norms = gradient_norms(log)
    return TrainingSpectrum(
        name=name,
        cell=config.cell,
        clip_norm=config.clip_norm,
        steps=tuple(steps),
        matrices=tuple(matrices),
        gradient_steps=gradient_steps,
        gradient_norms=norms,
    )


def gradient_norms(log: Iterable[Mapping[str, JSON]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the steps of a run's log and the norms of their gradients, at most MAX_NORMS of
    each."""
    logged = []
    for record in log:
        step = record.get("step")
        norm = record.get("grad_norm")
        # A norm that is not finite is logged as null.
        if (
            record.get("event") == "step"
            and isinstance(step, int)
            and isinstance(norm, int | float)
        ):
            logged.append((float(norm), step))

    size = max(1, -(-len(logged) // MAX_NORMS))
    steps: list[int] = []
    norms: list[float] = []
    for first in range(0, len(logged), size):
        norm, step = max(logged[first : first + size], key=lambda one: one[0])
        steps.append(step)
        norms.append(norm)
    return tuple(steps), tuple(norms)


def spectrum_chart(spectra: Sequence[TrainingSpectrum]) -> LineChart:
    """Draw the largest singular value of every run's recurrent matrices, layer by layer, against
    the step."""
    lines: list[Line] = []
    for spectrum in spectra:
        by_layer: dict[int, list[tuple[float, ...]]] = {}
        for matrix in spectrum.matrices:
            by_layer.setdefault(matrix.layer, []).append(matrix.largest_singular_values)
        for layer, values in by_layer.items():
            name = spectrum.name
            if len(by_layer) > 1:
                name += f", layer {layer}"
            largest = np.max(values, axis=0).tolist()
            points = list(zip(spectrum.steps, largest, strict=True))
            lines.append(Line(name, [points], len(lines)))
    highest = max((value for _, value in _points(lines)), default=1.0)
    return line_chart(
        SPECTRUM_TITLE, lines, ticks_from_zero(highest), empty="No checkpoint is whole."
    )


def norm_chart(spectra: Sequence[TrainingSpectrum]) -> LineChart:
    """Draw every run's gradient norms against the step, on a log scale."""
    lines = []
    for number, spectrum in enumerate(spectra):
        norms = zip(spectrum.gradient_steps, spectrum.gradient_norms, strict=True)
        # A norm out of range leaves no gap: steps are many, and their line is drawn through.
        points = list(chain.from_iterable(log_segments(norms)))
        lines.append(Line(f"{spectrum.name}, clipped at {spectrum.clip_norm:g}", [points], number))
    title = "Norm of the gradient of a step, before clipping"
    return line_chart(title, lines, power_ticks(lines), empty="No gradient norm is logged.")


def line_chart(
    title: str,
    lines: Sequence[Line],
    up_ticks: Sequence[Tick],
    *,
    empty: str,
    first: int = 0,
    label: str = "step",
) -> LineChart:
    """Draw lines from `first` on, against the step or another whole number; `empty` is said of no
    points."""
    last = max((round(place) for place, _ in _points(lines)), default=0)
    last = max(last, first + 1)

    def ticks(most: int) -> list[Tick]:
        step = max(1, round(round_step(last, most)))
        places = {first, *range(0, last + 1, step)}
        return [(tick, f"{tick:,}") for tick in sorted(places) if tick >= first]

    return LineChart(
        title=title,
        lines=lines,
        across=(first, last),
        across_label=label,
        across_ticks=ticks,
        up_ticks=up_ticks,
        empty_notice=empty,
    )


SPECTRUM = Option(
    "--spectrum", "Show the recurrent matrices' largest singular values during training.", kind=bool
)
"""Selects the analysis."""


def _measure_spectra(subject: Subject) -> list[TrainingSpectrum]:
    return [
        training_spectrum(run) for run in (run_folder(subject.model), *(subject.value(WITH) or ()))
    ]


def _show_spectra(subject: Subject, spectra: Sequence[TrainingSpectrum]) -> Shown:
    """Draw the recurrent matrices of runs at their checkpoints, and the norms of their
    gradients."""
    pictures: list[RenderableType] = [spectrum_chart(spectra), norm_chart(spectra)]
    if min(len(spectrum.steps) for spectrum in spectra) < FEW_STEPS:
        pictures.append(
            Text("Few steps are saved: train with --save-every and --keep 100 to see more of them.")
        )
    return Shown(
        f"Recurrent matrices of {spectra[0].name}",
        pictures,
        [spectrum.to_json() for spectrum in spectra],
    )


GATE_STYLES = {"f": "blue", "i": "green", "o": "magenta", "r": "green", "z": "blue"}
"""Colours of the gates; those of cells from other packages, which may have other letters, are cyan.
"""
MIN_WIDTH = 18
MAX_WIDTH = 34
"""Columns of a plot, its scale included."""
GAP = 2
"""Columns between plots."""
SCALE_WIDTH = 3
"""Columns of the scale on the left of a plot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReport(Displayable):
    """The gates of every layer, in order, over `num_chars` characters.

    They are drawn as scatter plots as in Karpathy, Johnson & Li (2015), Figure 3: every dot is a
    unit of a layer. x is the share of characters at which the unit's gate is shut (below 0.1), y
    the share at which it is open (above 0.9). A gate that is rarely saturated lies at the lower
    left, one that always is on the diagonal. The means over the units are printed below each plot.
    """

    name: str
    cell: str
    num_chars: int
    gates: tuple[GateUse, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        right, up = ("x", "y") if options.ascii_only else ("→", "↑")
        yield Text(
            f"Gates in {self.num_chars:,} characters: {right} shut (< 0.1), {up} open (> 0.9)",
            style="bold",
        )
        for _, of_layer in groupby(self.gates, key=lambda use: use.layer):
            uses = list(of_layer)
            width = max(MIN_WIDTH, min(MAX_WIDTH, (options.max_width + GAP) // len(uses) - GAP))
            yield Text()
            yield Columns(
                [_plot(use, width, ascii_only=options.ascii_only) for use in uses],
                padding=(0, GAP, 0, 0),
            )
        yield Text("A dot is a unit; both axes are shares of the characters.", style="dim")


def gates(model: Model, text: TextOrIds, *, context: str | bytes = "") -> GateReport:
    """Count how often each gate of each unit is saturated in `text`, read after `context`.

    Raises UsageError for a cell type without gates, DataError for an empty text.
    """
    return count_gates(model.network, model.encode(text, context=context), name=model.name)


def count_gates(network: CharRNN, text: EncodedText, *, name: str = "model") -> GateReport:
    """Count the share of characters at which each gate of each unit is saturated.

    Raises UsageError for a cell type without gates, CharRNNError as `Activations`.
    """
    layer = network.recurrent_layers()[0]
    if not layer.cell.gates:
        gated = ", ".join(name for name, cell in CELLS.items() if cell.gates)
        raise UsageError(
            f"The cell {layer.cell_name} has no gates. Built-in cell types with gates: {gated}."
        )
    with closing(Activations(network, text)) as activations:
        return GateReport(
            name=name, cell=layer.cell_name, num_chars=len(text), gates=activations.gates
        )


def _plot(use: GateUse, width: int, *, ascii_only: bool) -> Text:
    """Draw the plot of one gate as text, `width` columns wide and about as high."""
    canvas = Canvas(width - SCALE_WIDTH, (width - SCALE_WIDTH) // 2, ascii_only=ascii_only)
    for left, right in zip(use.left, use.right, strict=True):
        canvas.dot(left, right, GATE_STYLES.get(use.gate, "cyan"))
    side, corner, floor = "|+-" if ascii_only else "│└─"
    lines = [Text(f"layer {use.layer}: {GATE_NAMES.get(use.gate, use.gate)}", style="bold")]
    scale = {0: "1", canvas.height - 1: "0"}
    for row, line in enumerate(canvas.lines()):
        lines.append(Text.assemble(f"{scale.get(row, ''):>2}{side}", line))
    means = f"shut {fmean(use.left):.0%} open {fmean(use.right):.0%}"
    lines += [
        Text(f"  {corner}{floor * canvas.width}"),
        Text(f"   0{'1':>{canvas.width - 1}}"),
        Text(means.center(width).rstrip()),
    ]
    return Text("\n", no_wrap=True).join(lines)


GATES = Option("--gates", "Show how often each gate is saturated, per layer.", kind=bool)
"""Selects the analysis."""


def _show_gates(subject: Subject, report: GateReport) -> Shown:
    return Shown(f"Gates of {report.name}", report.view(), report.to_json())


ANALYSES = (
    Analysis(GATES, lambda subject: gates(subject.model, subject.text), _show_gates),
    Analysis(GRADIENTS, _measure, _show, options=(WITH,)),
    Analysis(SPECTRUM, _measure_spectra, _show_spectra, options=(WITH,), reads_text=False),
)
"""`visualize --gates`, `--gradients` and `--spectrum`."""

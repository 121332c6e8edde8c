"""`visualize --patch`: give cells the values they have after one passage at the end of another one;
see what changes.

An interchange intervention (Geiger et al. 2021), or activation patching (Vig et al. 2020), of
single cells.

Shapes: N characters of a passage, V, L, S and H as in `model.network`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.api import Model
from charrnn.cells.ablation import recording, replacing
from charrnn.cells.trace import torch_ops
from charrnn.cli.analyses import CELLS, Analysis, Shown, Subject
from charrnn.cli.arguments import parse_cell, to_content
from charrnn.config.options import option
from charrnn.errors import DataError, UsageError, named
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Ops
from charrnn.system.display import Displayable
from charrnn.system.lazy import Tensor, inference_mode, torch
from charrnn.text.vocab import EncodedText, IdArray
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible, shown_character

NUM_PATCHED = 4
"""Patched cells whose values are shown."""
CHARS_SHOWN = 60
"""Characters of a passage that are kept, its last ones."""
NUM_CHARACTERS = 8
"""Next characters that are reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedCell:
    """A cell that is patched: its value at the end of the source passage, and what it was in the
    target passage."""

    layer: int
    unit: int
    source: float
    target: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedCharacter:
    """The probability of a next character before and after the patch."""

    character: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch(Displayable):
    """What changes if cells have, at the end of the target passage, the memory that they have after
    the source passage.

    The memory is set at that one character; what follows is computed as usual. `divergence` is the
    Kullback-Leibler divergence of the free prediction of the next character from the patched one,
    KL(before ‖ after), in nats.
    """

    cells: tuple[PatchedCell, ...]
    source: str
    """The end of the source passage: its last CHARS_SHOWN characters."""
    target: str
    divergence: float
    characters: tuple[PatchedCharacter, ...]
    """Next characters whose probability changes most, largest change first."""

    def view(self) -> Sequence[RenderableType]:
        """Return what is patched, and the next characters before and after."""
        # A whole layer is many cells: only the first ones are written out.
        changes = []
        for cell in self.cells[:NUM_PATCHED]:
            changes.append(f"{cell.layer}:{cell.unit} {cell.target:+.2f} → {cell.source:+.2f}")
        shown = ", ".join(changes)
        num_others = len(self.cells) - NUM_PATCHED
        if num_others > 0:
            shown += f" and {num_others:,} others"
        name = f"{len(self.cells):,} cells"
        if len(self.cells) == 1:
            name = f"cell {self.cells[0].layer}:{self.cells[0].unit}"

        # In percent: a probability of 0.0003 is hard to read.
        numbers = ("before", "after", "change")
        table = plain_table("next character", *numbers, right=numbers)
        for one in self.characters:
            before = 100 * one.before
            after = 100 * one.after
            table.add_row(
                shown_character(one.character),
                f"{before:.2f} %",
                f"{after:.2f} %",
                f"{after - before:+.2f}",
            )

        # The passages above.
        return [
            Text(f"Patch of {name}: {shown}", style="bold"),
            Text(f"  from  …{all_visible(self.source)}", overflow="fold"),
            Text(f"  into  …{all_visible(self.target)}", overflow="fold"),
            table,
            Text(f"KL(before ‖ after) {self.divergence:.4f} nats"),
        ]


def patch(
    model: Model,
    cells: Sequence[tuple[int, int]],
    *,
    source: str | bytes,
    target: str | bytes,
) -> Patch:
    """Put the values that cells have after the `source` passage into the end of the `target`
    passage, and return what changes.

    A cell is (layer, unit). Raises UsageError for an unknown cell, DataError for an empty text and
    for characters outside the alphabet.

    >>> model.patch([(0, 17)], source="He said: (no", target="He said: no").characters
    """
    if not cells:
        raise UsageError("There is no cell to patch: give one or more.")
    for cell in cells:
        model.stepper.check_unit(*cell)
    return patch_cells(
        model,
        list(dict.fromkeys(cells)),
        source=_passage(model, name="source", value=source),
        target=_passage(model, name="target", value=target),
    )


def _passage(model: Model, *, name: str, value: str | bytes) -> EncodedText:
    """Encode the passage `source` or `target`. Raises DataError for a text that is empty or has
    characters outside the alphabet."""
    # An unknown character would be another one to the model.
    if not value:
        raise DataError(f"{named(name)} is empty: give at least one character.")
    if missing := model.vocab.unknown_characters(value):
        listed = ", ".join(f"{character!r}" for character in missing[:8])
        raise DataError(
            f"{named(name)} has characters that are not in the vocabulary of {model.name}:"
            f" {listed}. Leave them out."
        )
    return model.encode(value)


@inference_mode
def patch_cells(
    model: Model, cells: Sequence[tuple[int, int]], *, source: EncodedText, target: EncodedText
) -> Patch:
    """Put the memories that cells (layer, unit) have after the source passage into the end of the
    target passage.

    What is set is what a clamp sets (`ops.clamp`): c where there is one, else h. An LSTM's h = o *
    tanh(c) is then computed with the target's own output gate. Both passages are read from the
    initial state, one character after the other. Patching a passage with itself changes nothing,
    exactly.
    """
    # Only the layers of these cells compute in another way than usual.
    network = model.network
    layers = sorted({layer for layer, _ in cells})

    # Record what the cells have at the end of the source passage. Every later reading takes the
    # equations step by step, too: a fused kernel rounds differently, and a patch of a passage with
    # itself would change something.
    memories: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    recorders = {layer: recording(memories[layer]) for layer in layers}
    taken = _read(network, source.ids, recorders)

    # Read the target passage twice: as it is, and with the recorded memories in place.
    free = _read(network, target.ids, dict.fromkeys(layers, torch_ops()))
    replacements = {}
    for layer in layers:
        units = [unit for at, unit in cells if at == layer]
        replacements[layer] = _replacing(units, memories[layer])
    patched = _read(network, target.ids, replacements)

    # Compare the two predictions of the next character. In float64: the divergence is a small
    # difference of large sums.
    before = free.logits.double().log_softmax(-1)
    after = patched.logits.double().log_softmax(-1)
    changes = (after.exp() - before.exp()).abs()
    most = changes.argsort(descending=True, stable=True)[:NUM_CHARACTERS].tolist()
    characters = []
    for id in most:
        character = PatchedCharacter(
            character=model.character(id),
            before=float(before[id].exp()),
            after=float(after[id].exp()),
        )
        characters.append(character)

    # What the cells were in both passages.
    patched_cells = []
    for layer, unit in cells:
        cell = PatchedCell(
            layer=layer,
            unit=unit,
            source=taken.values[layer][unit],
            target=free.values[layer][unit],
        )
        patched_cells.append(cell)
    return Patch(
        cells=tuple(patched_cells),
        source=source.text[-CHARS_SHOWN:],
        target=target.text[-CHARS_SHOWN:],
        divergence=float((before.exp() * (before - after)).sum()),
        characters=tuple(characters),
    )


class _Read(NamedTuple):
    """What a network has after the last character of a passage."""

    logits: Tensor
    """(V,)"""
    values: list[list[float]]
    """(L, H): the cell values."""


def _read(network: CharRNN, ids: IdArray, ops: Mapping[int, Ops[Tensor]]) -> _Read:
    """Read ids (N,) from the initial state; at the last one, the layers in `ops` compute with these
    functions."""
    # All but the last one as fast as the network can.
    chars = torch.from_numpy(ids.astype(np.int64))[:, None]
    state = network.initial_state(1)
    if len(chars) > 1:
        _, state = network(chars[:-1], state)

    # The last one step by step, where the functions can record or replace memories.
    (logits, values, _), _ = network.trace(chars[-1:], state, ops)
    return _Read(logits[0, 0], values[0, 0].tolist())


def _replacing(units: Sequence[int], memories: Sequence[Tensor]) -> Ops[Tensor]:
    """Return the functions of torch, with some units of each memory (1, H) replaced by those of the
    next of `memories`, which were recorded in the same order."""
    remaining = iter(memories)

    def values_of(_: Tensor) -> Tensor:
        return next(remaining)[:, units]

    return replacing(units, values_of)


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """The options of the analysis."""

    patch: Sequence[str] = option(
        (),
        "--patch L:U",
        "Show what changes if this cell has its value from another passage (repeatable).",
        CELLS,
    )
    source: str = option(
        "", "--from TEXT", "With --patch: the passage that the value is from.", CELLS
    )
    target: str = option(
        "", "--into TEXT", "With --patch: the passage whose end is patched.", CELLS
    )


def _measure(subject: Subject[PatchOptions]) -> Patch:
    """Patch the cells that were typed, between the passages that were typed."""
    model = subject.model
    own = subject.own
    return patch(
        model,
        [parse_cell("--patch", one, model) for one in own.patch],
        source=to_content(own.source, model.vocab.kind),
        target=to_content(own.target, model.vocab.kind),
    )


def _show(subject: Subject[PatchOptions], found: Patch) -> Shown:
    return Shown(
        f"Patch in {subject.model.name}",
        found.view(),
        {"run": subject.model.name, **found.to_json()},
    )


ANALYSES = (
    Analysis(
        flag="--patch",
        options=PatchOptions,
        measure=_measure,
        show=_show,
        example="--patch 0:17",
        reads_text=lambda own: False,
    ),
)
"""`visualize --patch`."""

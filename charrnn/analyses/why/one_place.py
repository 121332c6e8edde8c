"""Why a model predicts a character after one text: the record, and how it is shown.

Shapes: N characters that are left out, K layers that the output layer reads, H units.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.why.sentences import SMALL_EFFECT, Carrier, LeftOut, a_character, explain
from charrnn.cells.records import CellIndex, ColouredText
from charrnn.errors import counted
from charrnn.system.arrays import Float64Array
from charrnn.system.display import Displayable
from charrnn.text.vocab import REPLACEMENT
from charrnn.views.heatmap import HeatMap, Legend
from charrnn.views.tables import Columns, records_table
from charrnn.views.theme import Scale, all_visible, shown_character

NUM_STRONGEST = 5
"""Characters that are listed, and underlined in the text."""
NUM_CARRIERS = 2
"""Entries that are named for each of them."""
LEAST_LISTED = 0.1
"""The smallest share with which a carrier is listed in the table."""
NUM_OTHERS = 3
"""Other characters that are listed because they might come, too."""
FULL_COLOUR = math.log(10)
"""The effect in nats that has the full colour: a chance that is ten times as high, or as low."""
EFFECT_SCALE = Scale(low=-FULL_COLOUR, high=FULL_COLOUR)
"""The scale of the colours."""
EFFECT_ENDS = ("1/10 as likely", "10 times as likely")
"""What the ends of the scale mean for the predicted character."""
ABOUT_EFFECTS = (
    f"effect: log p with the character minus log p without it, in nats ({FULL_COLOUR:+.1f}: 10"
    " times as likely). Leaving out a letter misspells its word, so letters count, too."
)
"""The explanation of the effects."""
ABOUT_CARRIERS = (
    "carried by: the {cells} that make most of the difference of its logit, and their shares; below"
    " 0 they work against it. The logit is the network's score for a character before the softmax:"
    " a sum with a term for each of them."
)
"""The explanation of the shares, of cells or of entries."""
ABOUT_SUMS = (
    "Effects must not be added: where two marks say the same, leaving out either of them changes"
    " little."
)
"""What effects are not."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Why(Displayable):
    """Why a model predicts a character after a text: what changes if each earlier character is left
    out, and what carries it.

    `Model.why` returns it. `sentence` is the answer in words, `strongest` in numbers, and the
    arrays are for statistics over many places of one's own.
    """

    name: str
    """The name of the model."""
    character: str
    """The predicted character; U+0000 is the end of a document, `\\xe9` a byte."""
    probability: float
    """Its probability, with all characters read."""
    others: tuple[tuple[str, float], ...] = ()
    """The three most likely other characters, each with its probability."""
    characters: tuple[str, ...] = field(repr=False)
    """The N characters that were left out one by one, as the alphabet names them: "" is the unknown
    symbol, `\\xe9` a byte."""
    effects: Float64Array = field(repr=False)
    """(N,): by how much each character makes the predicted one likelier, in nats: the
    log-probability with it minus that without it."""
    probabilities: Float64Array = field(repr=False)
    """(N,): the probability of the predicted character without each character."""
    terms: Float64Array = field(repr=False)
    """(K, N, H): what each entry of the vectors that the output layer reads adds to the difference
    of the logit, in nats. The sum over K and H is the logit of the predicted character with the
    character minus that without it."""
    layers: tuple[int, ...]
    """The layer of each of the K vectors, from 0."""
    are_units: bool
    """Whether an entry is the output of a unit. In a highway, with attention and in a grid it is a
    mixture of units."""
    follows: Mapping[CellIndex, str] = field(default_factory=dict, repr=False)
    """The detector that a cell (layer, unit) was found to follow."""
    num_read: int
    """The characters of the text, of which the last N were left out."""
    replaced: Mapping[str, str] = field(default_factory=dict)
    """What was read in place of a character that the alphabet lacks."""
    unit: str = "character"
    """What is left out: `character` or `byte`."""

    @property
    def text(self) -> str:
        """The N characters as a text: U+FFFD for the unknown symbol, chr(i) for byte i.

        It belongs to `effects` character by character; `characters` has the names by which the
        alphabet knows bytes and the unknown symbol.
        """
        return "".join(map(as_text, self.characters))

    @cached_property
    def logit_changes(self) -> Float64Array:
        """(N,): the logit of the predicted character with each character minus that without it, in
        nats.

        The change of the logit is a sum over units, as `terms` has it; `effects`, which are changes
        of the log-probability, are none.
        """
        changes: Float64Array = self.terms.sum(axis=(0, 2))
        return changes

    def strongest(self, num: int = NUM_STRONGEST) -> tuple[LeftOut, ...]:
        """List the characters that change the prediction most if they are left out.

        It is a table of the answer, with the cells that carry it; `sentence` puts it into words.

        Args:
            num: The number of characters, by default 5.

        Returns:
            A tuple of `LeftOut`, the strongest effect first, of either sign.

        Example:
            >>> why = charrnn.load("prose").why("What is ")
            >>> strongest = why.strongest(2)
            >>> abs(strongest[0].effect) >= abs(strongest[1].effect)
            True
        """
        order = np.argsort(-np.abs(self.effects), kind="stable")
        return tuple(self._left_out(index) for index in order[:num].tolist())

    @property
    def sentence(self) -> str:
        """Why the character is predicted, in plain English.

        It is the answer to quote; a lecture or a page shows `view` with it.
        """
        every = self.strongest(len(self.effects))
        return explain(self.character, probability=self.probability, left_out=every, unit=self.unit)

    def _left_out(self, index: int) -> LeftOut:
        """Return what changes without the character with this index."""
        terms = self.terms[:, index]
        change = float(self.logit_changes[index])
        carriers = []
        most = np.argsort(-np.abs(terms), axis=None, kind="stable")[:NUM_CARRIERS]
        for number, entry in zip(*np.unravel_index(most, terms.shape), strict=True):
            term = float(terms[number, entry])
            carriers.append(self._carrier(int(number), int(entry), term=term, change=change))
        return LeftOut(
            character=self.characters[index],
            distance=len(self.characters) - index,
            effect=float(self.effects[index]),
            probability=float(self.probabilities[index]),
            logit_change=change,
            carriers=tuple(carriers),
        )

    def _carrier(self, number: int, entry: int, *, term: float, change: float) -> Carrier:
        layer = self.layers[number]
        follows = None
        if self.are_units:
            name = f"{layer}:{entry}"
            follows = self.follows.get((layer, entry))
        elif len(self.layers) > 1:
            name = f"entry {entry} of layer {layer}"
        else:
            name = f"entry {entry}"
        return Carrier(
            name=name,
            layer=layer,
            entry=entry,
            is_unit=self.are_units,
            term=term,
            share=term / change if change else None,
            follows=follows,
        )

    def coloured(self, num_underlined: int = NUM_STRONGEST) -> HeatMap:
        """Return the text coloured by effect, with its strongest characters underlined.

        It is the picture alone, for a page or a figure with a text of its own; `view` has the table
        and the sentence, too.

        Args:
            num_underlined: The number of characters that are underlined, by default 5.

        Returns:
            A renderable of rich.

        Example:
            >>> why = charrnn.load("prose").why("What is ")
            >>> why.coloured(2).coloured.text
            'What is '
        """
        inside = np.zeros(len(self.effects), bool)
        inside[np.argsort(-np.abs(self.effects), kind="stable")[:num_underlined]] = True
        coloured = ColouredText(
            text=self.text, values=tuple(self.effects.tolist()), inside=tuple(inside.tolist())
        )
        return HeatMap(coloured, EFFECT_SCALE)

    def view(self) -> Sequence[RenderableType]:
        """Return the probability, the text coloured by effect, the strongest characters and the
        sentence.

        A notebook shows it by itself. `coloured` is the picture without the table.
        """
        read = ""
        if self.num_read > len(self.characters):
            read = f", the last {len(self.characters):,} of {counted(self.num_read, self.unit)}"
        verb = "comes"
        if any(probability > self.probability for _, probability in self.others):
            verb = "may come"
        title = f"Why {a_character(self.character)} {verb} next{read}"
        pictures: list[RenderableType] = [
            Text.assemble(
                (title, "bold"),
                f" (model {all_visible(self.name)}): probability {self.probability:.4f}",
            )
        ]
        if self.others:
            pictures.append(Text(f"In its place might come: {_listed(self.others)}"))
        for character, known in self.replaced.items():
            read_as = f"{all_visible(known)!r} is read" if known else "nothing is read"
            pictures.append(Text(f"{read_as} in place of {all_visible(character)!r}."))
        cells = "cells" if self.are_units else "entries of the last vector"
        pictures += [
            Legend(EFFECT_ENDS, underlined="the strongest"),
            self.coloured(),
            Text(),
            records_table(COLUMNS, self.strongest(), left=("character", "carried by")),
            Text(ABOUT_EFFECTS, style="dim"),
            Text(ABOUT_CARRIERS.format(cells=cells), style="dim"),
            Text(ABOUT_SUMS, style="dim"),
            Text(),
            Text(self.sentence, style="bold"),
        ]
        return pictures

    def to_json(self) -> dict[str, Any]:
        """Return the object of `predict --why --json`, without the name of the run.

        It has one character and all that was left out; `to_rows` is for a table.

        Returns:
            A dictionary; `effects` and `probabilities` have a number for each character of `text`.

        Example:
            >>> why = charrnn.load("prose").why("What is ").to_json()
            >>> len(why["effects"]) == len(why["text"]) == 8
            True
        """
        return {
            "character": self.character,
            "probability": self.probability,
            "others": [
                {"character": character, "probability": probability}
                for character, probability in self.others
            ],
            "sentence": self.sentence,
            "strongest": [asdict(left_out) for left_out in self.strongest()],
            "text": self.text,
            "effects": self.effects.tolist(),
            "probabilities": self.probabilities.tolist(),
            "num_read": self.num_read,
            "replaced": dict(self.replaced),
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a row of a table for each character that was left out, in the order of the text.

        It is for a spreadsheet or a data frame; `to_json` has the strongest characters and the
        sentence as well.

        Returns:
            A list of dictionaries, the columns of a row by name.

        Example:
            >>> rows = charrnn.load("prose").why("What is ").to_rows()
            >>> len(rows), rows[-1]["distance"]
            (8, 1)
        """
        rows = []
        for index in range(len(self.characters)):
            left_out = asdict(self._left_out(index))
            carriers = left_out.pop("carriers")
            for number, carrier in enumerate(carriers, start=1):
                left_out[f"carrier_{number}"] = carrier["name"]
                left_out[f"share_{number}"] = carrier["share"]
            rows.append(left_out | {"character": all_visible(left_out["character"])})
        return rows


def as_text(character: str) -> str:
    """Return an entry of the alphabet as one character of a text: chr(i) for byte i, U+FFFD for the
    unknown symbol."""
    if len(character) > 1:
        return chr(int(character.removeprefix("\\x"), 16))
    return character or REPLACEMENT


def _listed(others: Sequence[tuple[str, float]]) -> str:
    """List characters with their probabilities: `␣ 0.2110, e 0.0312`."""
    phrases = []
    for character, probability in others:
        phrases.append(f"{shown_character(character)} {_four_decimals(probability)}")
    return ", ".join(phrases)


def _four_decimals(probability: float) -> str:
    """Return a probability, which is never shown as 0."""
    if probability < 0.0001:
        return "<0.0001"
    return f"{probability:.4f}"


def _carried_by(left_out: LeftOut) -> str:
    """Return the carriers of an effect, each with what it follows and its share. There are none
    where the logit hardly changes: terms that cancel out would be shares of 1,000 %."""
    if abs(left_out.logit_change) < SMALL_EFFECT:
        return "–"
    phrases = []
    for carrier in left_out.carriers:
        if carrier.share is None or abs(carrier.share) < LEAST_LISTED:
            continue
        phrase = carrier.name
        if carrier.follows is not None:
            phrase += f" (follows {all_visible(carrier.follows)})"
        phrases.append(f"{phrase} {carrier.share:.0%}")
    return ", ".join(phrases) or "many, a little each"


COLUMNS: Columns = {
    "character": lambda left_out: shown_character(left_out.character or REPLACEMENT),
    "distance": "{distance}",
    "effect": "{effect:+.3f}",
    "without it": lambda left_out: _four_decimals(left_out.probability),
    "carried by": _carried_by,
}
"""The columns of the table of the strongest characters: `without it` is the probability of the
predicted character."""

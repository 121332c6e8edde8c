"""Say in plain English why a character is predicted, with the numbers of one place alone."""

import unicodedata
from dataclasses import dataclass

from charrnn.errors import counted
from charrnn.text.documents import END
from charrnn.views.theme import all_visible, visible

SMALL_EFFECT = 0.1
"""Nats below which an effect is one of many: the chance changes by less than about a tenth."""
NUM_NEAR = 4
"""The last characters, which nearly always matter: they are the word, or the end of the sentence.
A character further back that matters is named beside them."""
LEAST_SHARE = 0.25
"""The share of a difference from which on one entry carries it."""
LEAST_OWN = 0.5
"""The share of an effect that the logit of the character itself must make up, for its entries to
carry it. The rest of an effect is what other characters lose or gain."""
_NAMES = {" ": "space", "\n": "newline", "\t": "tab", "\r": "carriage return"}


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """An entry of the vectors that the output layer reads, and what it does for an effect.

    It leads from an effect to a cell: if `is_unit`, `Study.page` shows what the cell does
    elsewhere.
    """

    name: str
    """`0:97` for a unit, with its layer; `entry 97` of a vector that mixes units."""
    layer: int
    """The layer to which its vector belongs, from 0."""
    entry: int
    """The index of the entry, from 0: the number of the unit, if it is one."""
    is_unit: bool
    """Whether it is the output of a unit."""
    term: float
    """What it adds to the difference of the logit, in nats."""
    share: float | None
    """The term as a share of that difference; below 0 it works against it, and above 1 others do.
    None if the logit does not change."""
    follows: str | None = None
    """The detector that its cell was found to follow; None if none is known."""

    @property
    def description(self) -> str:
        """The carrier in a sentence.

        `Why.sentence` ends with it.
        """
        if not self.is_unit:
            return f"{self.name} of the vector that the output layer reads"
        if self.follows is None:
            return f"cell {self.name}"
        return f"cell {self.name}, which follows {all_visible(self.follows)},"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What changes if one character is left out.

    `Why.strongest` lists them; the arrays of `Why` have the same for all characters at once.
    """

    character: str
    """The character, as the alphabet names it: "" is the unknown symbol, `\\xe9` a byte."""
    distance: int
    """How many characters it stands before the predicted one: 1 is the last one."""
    effect: float
    """The log-probability of the predicted character with it minus that without it, in nats: above
    0 it makes that character likelier."""
    probability: float
    """The probability of the predicted character without it."""
    logit_change: float
    """The logit of the predicted character with it minus that without it."""
    carriers: tuple[Carrier, ...]
    """The two entries that carry most of the change of the logit, the strongest first."""


def the_character(character: str) -> str:
    """Return a character in a sentence: `the 'e'`, and in words what nobody would see: `the
    space`."""
    if character == END:
        return "the end of the document"
    if character == "":
        return "the unknown character"
    if character in _NAMES:
        return f"the {_NAMES[character]}"
    # The name of a byte that is no character by itself, \xe9.
    if len(character) > 1:
        return f"the byte {character}"
    # Other blanks look like a space, and have names of Unicode.
    if character.isspace():
        return f"the {unicodedata.name(character, visible(character)).lower()}"
    return f"the {_quoted(character)}"


def a_character(character: str) -> str:
    """Return a character that may come, in a sentence: `'e'`, `a space`, `the end of the document`.

    Pictures show a space as ␣ (`theme.shown_character`); a sentence names it.
    """
    named = the_character(character)
    if character == END:
        return named
    if character == "":
        return "an unknown character"
    if named.endswith(_quoted(character)):
        return _quoted(character)
    return named.replace("the", "a", 1)


def _quoted(character: str) -> str:
    quote = "'"
    if character == quote:
        quote = '"'
    return f"{quote}{visible(character)}{quote}"


def percentage(share: float) -> str:
    """Return a chance as a percentage: 31%, 1.2%, 0.34%, 99.7%.

    A chance of 0.004 is not 0 %, and 0.998 not 100 %.
    """
    if share < 1e-4:
        return "less than 0.01%"
    if share > 0.999:
        return "more than 99.9%"
    if share < 0.00995:
        return f"{share:.2%}"
    if share < 0.0995 or share > 0.99:
        return f"{share:.1%}"
    return f"{share:.0%}"


def explain(
    character: str, probability: float, left_out: tuple[LeftOut, ...], unit: str = "character"
) -> str:
    """Say why a character is predicted.

    `Why.sentence` is what it says; a sentence must not claim more than the numbers, so the small
    effects have wordings of their own.

    Args:
        character: The predicted character.
        probability: Its probability.
        left_out: What changes without each earlier character, the strongest effect first.
        unit: What is left out: `character` or `byte`.

    Returns:
        One to three sentences of plain English.
    """
    strongest = left_out[0]
    chance = f"{a_character(character)} has a chance of {percentage(probability)}"
    if abs(strongest.effect) < SMALL_EFFECT:
        return _sentence(
            f"{chance} for many small reasons: even without {_place(strongest, unit)}, which"
            f" counts most, it would have {percentage(strongest.probability)}"
        )

    # The strongest of all.
    because = ", above all because of"
    if strongest.effect < 0:
        because = " in spite of"
    sentences = [f"{chance}{because} {_place(strongest, unit)}{_without(strongest)}"]

    # One further back is what a reader would not have guessed.
    told = strongest
    further = [other for other in left_out if other.distance > NUM_NEAR]
    if strongest.distance <= NUM_NEAR and further and abs(further[0].effect) >= SMALL_EFFECT:
        told = further[0]
        counts = "counts most"
        if told.effect < 0:
            counts = "counts most, and against it"
        sentences.append(f"further back, {_place(told, unit)} {counts}{_without(told)}")
    sentences.append(_carried(told))
    return " ".join(map(_sentence, sentences))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _place(left_out: LeftOut, unit: str) -> str:
    """Return a character and where it stands."""
    where = "right before it"
    if left_out.distance > 1:
        where = f"{counted(left_out.distance, unit)} before"
    return f"{the_character(left_out.character)} {where}"


def _without(left_out: LeftOut) -> str:
    return f": without it the chance would be {percentage(left_out.probability)}"


def _carried(left_out: LeftOut) -> str:
    """Say what carries the effect of a character."""
    # The logit of the predicted character is one thing, those of all others another.
    if left_out.logit_change / left_out.effect < LEAST_OWN:
        change = "likelier" if left_out.effect > 0 else "less likely"
        return f"this is mostly because other characters become {change} without it"

    most = max(left_out.carriers, key=lambda carrier: carrier.share or 0.0)
    share = most.share or 0.0
    if share < LEAST_SHARE:
        if share <= 0:
            return "many cells share this difference"
        return f"many share this difference: {most.description} carries most, {share:.0%}"
    if share > 1:
        return (
            f"{most.description} carries more than this difference, {share:.0%} of it, and others"
            " work against it"
        )
    return f"{most.description} carries {share:.0%} of this difference"

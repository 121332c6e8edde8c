"""Which character is explained: as a user types it, and its id."""

import re
from typing import NamedTuple

from charrnn.config.options import check
from charrnn.errors import DataError, UsageError, named, shortened
from charrnn.generation.generator import undrawable_ids
from charrnn.generation.sample_options import UNKNOWN_CHOICES
from charrnn.text.documents import END
from charrnn.text.given_text import as_read
from charrnn.text.vocab import as_bytes
from charrnn.trained_model import TrainedModel

NEXT = "next"
"""The word for the most likely character."""
END_WORD = "end"
"""The word for the END of a document."""
_BYTE = re.compile(r"\\x([0-9a-fA-F]{2})")
"""A byte as it is typed, and as a byte alphabet names it."""


class ExplainedCharacter(NamedTuple):
    """The character that is explained."""

    id: int | None
    """Its id; None for the most likely one."""
    replaced: dict[str, str]
    """What is taken in place of a character that the model lacks."""


def target_id(model: TrainedModel, character: str | bytes, unknown: str) -> ExplainedCharacter:
    """Return the id of the character that is explained, as it is typed.

    A command and Python give a character in the same words. The character is a string of one
    character, a byte of a model of bytes, `next` or `end`. Raises UsageError for anything else,
    DataError for a character that the model lacks and, if `unknown` is `nearest`, for one that has
    no similar character.
    """
    check("unknown", unknown, allowed=UNKNOWN_CHOICES)
    end_id = model.config.end_id
    if character == NEXT:
        return ExplainedCharacter(None, replaced={})
    if character in (END, END_WORD):
        if end_id is None:
            raise UsageError(
                f"{named('character', END_WORD)} is the end of a document, and {model.name} was"
                " not trained on documents: name a character."
            )
        return ExplainedCharacter(end_id, replaced={})
    if model.vocab.kind == "byte":
        return ExplainedCharacter(_byte(character), replaced={})
    if isinstance(character, bytes):
        raise UsageError(
            f"{named('character')} is bytes, but {model.name} reads characters: give a string."
        )

    # One character, as the model reads it: a letter and its accent are one.
    read = as_read(character, model.config)
    if len(read) != 1:
        raise UsageError(
            f"{named('character')} is {shortened(character)!r}; it must be one character, `next`"
            " or `end`. Name the first character that you expect."
        )
    vocab = model.vocab
    replaced = {}
    if vocab.unknown_characters(read):
        nearest = vocab.nearest(read)
        if unknown == "error":
            raise DataError(
                f"{named('character')} is {read!r}, which is not in the vocabulary of {model.name}:"
                f" it never comes. Name another one, or use {named('unknown', 'nearest')}."
            )
        if len(nearest) != 1:
            raise DataError(
                f"{named('character')} is {read!r}, which is not in the vocabulary of {model.name},"
                " and no single character is similar. Name another one."
            )
        replaced[read] = nearest
        read = nearest
    (id,) = vocab.encode(read).tolist()
    if id in undrawable_ids(vocab, end_id):
        raise UsageError(f"{named('character')} is {read!r}, which {model.name} never writes.")
    return ExplainedCharacter(id, replaced=replaced)


def _byte(character: str | bytes) -> int:
    """Return the byte that is named: one of bytes, an ASCII character, or `\\xe9`."""
    if isinstance(character, str) and (match := _BYTE.fullmatch(character)):
        return int(match[1], 16)
    typed = as_bytes(character)
    if len(typed) == 1:
        return typed[0]
    names = "".join(f"\\x{byte:02x}" for byte in typed[:8])
    raise UsageError(
        f"{named('character')} is {shortened(str(character))!r}; for a model of bytes it must be"
        f" one byte, an ASCII character or one of {names or 'its bytes'}, `next` or `end`."
    )

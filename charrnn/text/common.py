"""The characters that several alphabets have in common.

Shapes: V entries of the common alphabet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError
from charrnn.text.vocab import UNKNOWN, Vocab

MIN_COMMON = 2
"""Characters that alphabets must have in common: among fewer there is nothing to choose."""


@dataclass(frozen=True, slots=True, eq=False)
class CommonAlphabet:
    """An alphabet, and where each of its entries is in several others."""

    vocab: Vocab
    """The alphabet itself, if all are the same, else the characters of all of them, without an unknown symbol."""
    places: tuple[NDArray[np.int64], ...]
    """For each of the others, (V,): the id that an entry has there."""

    @classmethod
    def of(cls, vocabs: Sequence[Vocab], names: Sequence[str]) -> "CommonAlphabet":
        """Find the common alphabet of `vocabs`; `names` are those of their runs, for messages.

        Raises UsageError if one of them consists of bytes and another of characters, or if there is none.
        """
        first = vocabs[0]
        for vocab, name in zip(vocabs[1:], names[1:], strict=True):
            if vocab.kind != first.kind:
                units = {"char": "characters", "byte": "bytes"}
                raise UsageError(
                    f"{names[0]} reads {units[first.kind]} and {name} reads {units[vocab.kind]}: they have no common "
                    "alphabet.\nMix runs that were trained with the same kind of alphabet."
                )
        if all(vocab == first for vocab in vocabs):
            return cls(first, tuple(np.arange(len(first)) for _ in vocabs))
        shared = set(first.characters).intersection(*(vocab.characters for vocab in vocabs[1:])) - {UNKNOWN}
        if len(shared) < MIN_COMMON:
            raise UsageError(
                f"{', '.join(names)} have {len(shared)} of their characters in common; mixing them needs at least "
                f"{MIN_COMMON}.\nMix runs whose texts are written in the same script."
            )
        characters = tuple(sorted(shared))
        places = []
        for vocab in vocabs:
            id_of = {character: id for id, character in enumerate(vocab.characters)}
            places.append(np.array([id_of[character] for character in characters]))
        return cls(Vocab("char", characters), tuple(places))

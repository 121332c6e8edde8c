"""Generate a small corpus of random words with known labels at every character: quotations, columns, indentation.

A label describes the text after its character: an opening quotation mark is inside, a closing one is not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

WORDS = (
    *("ab", "drel", "fon", "gamik", "hul", "jora", "kesh", "lunt", "molu", "nibber", "oske", "pell", "quim", "rand"),
    *("sivo", "tarn", "ullet", "vask", "wem", "yorrin", "zib"),
)
LINE_WIDTH = 56
TAB = 4


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticCorpus:
    """A text of N characters and its labels (N,)."""

    text: str = field(repr=False)
    is_quoted: NDArray[np.bool_] = field(repr=False)
    columns: NDArray[np.int64] = field(repr=False)
    """Characters read on this line; 0 after its newline."""
    indentation: NDArray[np.int64] = field(repr=False)
    """Spaces at the start of this line; inside them, their number so far."""

    def unigram_nats(self) -> float:
        """Return the entropy of single characters in nats: the loss of a model that only knows their frequencies."""
        _, counts = np.unique(list(self.text), return_counts=True)
        shares = counts / counts.sum()
        return float(-(shares * np.log(shares)).sum())


def make_corpus(*, num_chars: int = 24_000, seed: int = 0, with_quotes: bool = True) -> SyntheticCorpus:
    """Generate paragraphs of prose and blocks of code, at least `num_chars` characters, determined by the seed."""
    writer = _Writer(random.Random(seed), with_quotes)
    while len(writer.characters) < num_chars:
        writer.paragraph()
        writer.code_block()
    return SyntheticCorpus(
        "".join(writer.characters),
        np.array(writer.is_quoted, bool),
        np.array(writer.columns, np.int64),
        np.array(writer.indentation, np.int64),
    )


@dataclass(slots=True)
class _Writer:
    """Appends characters together with their labels."""

    draw: random.Random
    with_quotes: bool
    characters: list[str] = field(default_factory=list)
    is_quoted: list[bool] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    indentation: list[int] = field(default_factory=list)
    column: int = 0

    def write(self, piece: str, *, is_quoted: bool = False, indent: int = 0) -> None:
        for character in piece:
            is_newline = character == "\n"
            self.column = 0 if is_newline else self.column + 1
            self.characters.append(character)
            self.is_quoted.append(is_quoted)
            self.columns.append(self.column)
            self.indentation.append(indent if is_newline else min(indent, self.column))

    def paragraph(self) -> None:
        for _ in range(self.draw.choice((3, 4, 5))):
            self.clause(is_quoted=False)
            if self.with_quotes:
                self.separate(is_quoted=False)
                self.clause(is_quoted=True)
            self.separate(is_quoted=False)
        self.words(2)
        self.write(".\n\n")

    def clause(self, *, is_quoted: bool) -> None:
        if is_quoted:
            self.write('"', is_quoted=True)
        self.words(self.draw.choice((3, 5, 8)), is_quoted=is_quoted)
        self.write(",", is_quoted=is_quoted)
        if is_quoted:
            self.write('"')

    def words(self, num_words: int, *, is_quoted: bool = False) -> None:
        for index in range(num_words):
            if index:
                self.separate(is_quoted=is_quoted)
            self.write(self.draw.choice(WORDS), is_quoted=is_quoted)

    def separate(self, *, is_quoted: bool) -> None:
        self.write("\n" if self.column >= LINE_WIDTH - 8 else " ", is_quoted=is_quoted)

    def code_block(self) -> None:
        depth = 0
        for _ in range(self.draw.choice((5, 7, 9))):
            is_header = depth < 3 and self.draw.random() < 0.5
            word, other = self.draw.choice(WORDS), self.draw.choice(WORDS)
            line = f"if {word}({other}):" if is_header else f"{word} = [{other}, {depth}]"
            indent = TAB * depth
            self.write(" " * indent + line + "\n", indent=indent)
            depth = depth + 1 if is_header else self.draw.choice((depth, depth, max(0, depth - 1)))
        self.write("\n")

"""Generate a small corpus of random words with known labels after every character: quotations,
columns, indents."""

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

WORDS = (
    "ab",
    "drel",
    "fon",
    "gamik",
    "hul",
    "jora",
    "kesh",
    "lunt",
    "molu",
    "nibber",
    "oske",
    "pell",
    "quim",
    "rand",
    "sivo",
    "tarn",
    "ullet",
    "vask",
    "wem",
    "yorrin",
    "zib",
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
        """Return the entropy of single characters in nats: the loss of a model that only knows
        their frequencies."""
        _, counts = np.unique(list(self.text), return_counts=True)
        shares = counts / counts.sum()
        return float(-(shares * np.log(shares)).sum())


def make_corpus(
    *, num_chars: int = 24_000, seed: int = 0, with_quotes: bool = True
) -> SyntheticCorpus:
    """Generate paragraphs of prose and blocks of code, at least `num_chars` characters, determined
    by the seed."""
    writer = _Writer(random.Random(seed), with_quotes)
    while writer.num_chars < num_chars:
        writer.paragraph()
        writer.code_block()
    text = "".join(writer.pieces)
    columns, indentation = [], []
    for line in text.splitlines(keepends=True):
        width = len(line) - len(line.lstrip(" "))
        columns += [*range(1, len(line)), 0]
        indentation += [*(min(column, width) for column in range(1, len(line))), width]
    is_quoted = np.cumsum(np.array(list(text)) == '"') % 2 == 1  # every quotation is closed
    return SyntheticCorpus(
        text, is_quoted, np.array(columns, np.int64), np.array(indentation, np.int64)
    )


@dataclass(slots=True)
class _Writer:
    draw: random.Random
    with_quotes: bool
    pieces: list[str] = field(default_factory=list)
    num_chars: int = 0
    column: int = 0

    def write(self, piece: str) -> None:
        self.pieces.append(piece)
        self.num_chars += len(piece)
        self.column = 0 if piece.endswith("\n") else self.column + len(piece)

    def paragraph(self) -> None:
        for _ in range(self.draw.choice((3, 4, 5))):
            self.words(self.draw.choice((3, 5, 8)))
            self.write(",")
            if self.with_quotes:
                self.separate()
                self.write('"')
                self.words(self.draw.choice((3, 5, 8)))
                self.write(',"')
            self.separate()
        self.words(2)
        self.write(".\n\n")

    def words(self, num_words: int) -> None:
        for index in range(num_words):
            if index:
                self.separate()
            self.write(self.draw.choice(WORDS))

    def separate(self) -> None:
        self.write("\n" if self.column >= LINE_WIDTH - 8 else " ")

    def code_block(self) -> None:
        depth = 0
        for _ in range(self.draw.choice((5, 7, 9))):
            is_header = depth < 3 and self.draw.random() < 0.5
            word, other = self.draw.choice(WORDS), self.draw.choice(WORDS)
            line = f"if {word}({other}):" if is_header else f"{word} = [{other}, {depth}]"
            self.write(" " * TAB * depth + line + "\n")
            depth = depth + 1 if is_header else self.draw.choice((depth, depth, max(0, depth - 1)))
        self.write("\n")

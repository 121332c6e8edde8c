"""Passages of the training text: which characters would make a text copy more of it than it may.

Shapes: N characters of a text (bytes, for the byte alphabet), V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.api import Model, load
from charrnn.errors import CharRNNError
from charrnn.system.progress import warn
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END
from charrnn.text.vocab import code_points

SLICE_CHARS = 1 << 20
"""Characters of a corpus that are decoded at a time."""
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
"""The inverse of _BASE modulo 2^64."""

Codes = NDArray[np.uint64]


class SlicedText(Protocol):
    """A text of which only slices are needed in memory: str, bytes, or a part of a corpus."""

    def __len__(self) -> int:
        """Return the number of characters."""

    def __getitem__(self, chars: slice, /) -> str | bytes:
        """Return some of the characters, always str or always bytes."""


def codes_of(content: str | bytes) -> Codes:
    """Return the code points of a text (N,), or its bytes."""
    if isinstance(content, bytes):
        return np.frombuffer(content, np.uint8).astype(np.uint64)
    return code_points(content).astype(np.uint64)


def window_hashes(codes: Codes, length: int) -> Codes:
    """Hash each window of `length` codes: sum of code_k * BASE^k modulo 2^64 (Karp & Rabin 1987).

    BASE is odd and so has an inverse modulo 2^64: the hash of a window is a difference of two
    prefix sums, divided by a power of BASE.
    """
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * _powers(_BASE, len(codes)), out=sums[1:])

    # Integers of 64 bits wrap around, which is the modulus.
    hashes = sums[length:] - sums[:-length]
    hashes *= _powers(_INVERSE, len(hashes))
    return hashes


def _powers(base: int, num: int) -> Codes:
    powers = np.full(num, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


def slices_of(corpus: SlicedText, length: int) -> Iterator[tuple[int, str | bytes]]:
    """Yield (offset, text) of slices of a corpus; each window of `length` characters is whole in
    one."""
    for begin in range(0, len(corpus) - length + 1, SLICE_CHARS):
        yield begin, corpus[begin : begin + SLICE_CHARS + length - 1]


class KnownPassages:
    """All passages of N + 1 characters of a training text, as 8 bytes each: `forbid` of a sample.

    No passage is missed. Of two that have the same hash, which is as likely as 1 in 2^64, one that
    is not in the text is taken for the other: one character more is then forbidden.
    """

    def __init__(
        self, texts: Iterable[SlicedText], num_chars: int, codes: Codes, end_id: int | None
    ):
        """Read texts, of which `num_chars` N may be copied in a row; `codes` (V,) are the code
        points of the alphabet."""
        self._num_chars = num_chars
        self._codes = codes
        self._end_id = end_id
        self._powers = _powers(_BASE, num_chars + 1)

        # Slice by slice, because a part of a corpus decodes each; equal ones are kept once. The
        # first one stands for none.
        known = [np.zeros(1, np.uint64)]
        for training in texts:
            for _, text in slices_of(training, num_chars + 1):
                hashes = window_hashes(codes_of(text), num_chars + 1)
                # Without an index, `np.unique` of NumPy 2.4 fills a hash table: that takes ten
                # times as long as sorting.
                known.append(np.unique(hashes, return_index=True)[0])
        self._known = np.sort(np.concatenate(known))

    def __call__(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        """Return which characters (V,) would complete a passage after a text of ids."""
        # A text that is shorter than a passage, and an END, complete none.
        if len(ids) < self._num_chars:
            return np.zeros(len(self._codes), np.bool_)
        before = self._codes[list(ids[len(ids) - self._num_chars :])]
        hashes = self._codes * self._powers[-1] + (before * self._powers[:-1]).sum(dtype=np.uint64)
        places = np.searchsorted(self._known, hashes).clip(max=len(self._known) - 1)
        completes: NDArray[np.bool_] = self._known[places] == hashes
        if self._end_id is not None:
            completes[self._end_id] = False
        return completes


def learned_texts(model: Model, *, reason: str) -> list[CorpusPart]:
    """Read the training text of a model, and of the models that it started from, its own first.

    A warning names a model that it started from whose text cannot be read. Raises DataError if its
    own text is missing or has changed; `reason` ends the message.
    """
    model.check_learned_here()
    texts = [model.read_parts(reason=reason)[0]]
    digests = {model.step_digest}
    while model.config.init_from is not None:
        before = model.config.init_from
        try:
            model = load(before)
            # A run that started from one of its own name, which is now somewhere else.
            if model.step_digest in digests:
                break
            model.check_learned_here()
            texts.append(model.read_parts(reason=reason)[0])
        except CharRNNError as error:
            warn(f"what {before} learned before is not compared: {error.marked}")
            break
        digests.add(model.step_digest)
    return texts


def known_passages(model: Model, num_chars: int) -> KnownPassages:
    """Read the training text of the run, and of the runs that it started from, so that no sample
    copies more than `num_chars` characters of it in a row: `Model.known_passages`.

    Raises DataError if the text is missing or has changed.

    >>> known = model.known_passages(30)
    >>> model.sample(length=200, forbid=known).text
    """
    texts = learned_texts(model, reason=" What is copied shows only beside the text.")
    # The unknown symbol is never drawn, so that it may have any code.
    points = [ord(character or END) for character in model.vocab.characters]
    # No passage is longer than a text: a larger number forbids nothing either.
    num_chars = min(num_chars, max(map(len, texts)))
    return KnownPassages(
        texts, num_chars=num_chars, codes=np.array(points, np.uint64), end_id=model.config.end_id
    )

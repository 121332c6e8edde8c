"""Pieces of a training text that are held back from what is learned, spread over the text.

No single place stands for a whole text: it may begin with a licence, a table of contents or the
persons of a play.

Shapes: N ids of a training text.
"""

import numpy as np

from charrnn.text.vocab import IdArray

NUM_PIECES = 10
"""Pieces of a text without documents."""
MOST_FACTOR = 2
"""Pieces of whole documents have at most this number times as many characters as were asked for;
where documents are so long that they would have more, there are fewer pieces."""
_BLOCK_IDS = 1 << 16


def held_back_pieces(ids: IdArray, num_chars: int, end_id: int | None) -> tuple[slice, ...]:
    """Return pieces of ids (N,), in the order of the text, with `num_chars` characters in all.

    Each is the middle of one of NUM_PIECES equal parts of the text. If the text has documents,
    which end with `end_id`, the pieces consist of whole documents, so they are longer, or fewer. A
    single piece is the beginning of the text.
    """
    num_chars = min(num_chars, len(ids))
    if end_id is None:
        return _spread(len(ids), num_chars=num_chars, num_pieces=NUM_PIECES)

    # Longer documents need fewer pieces, or the pieces become too large a share of the text.
    for num_pieces in range(NUM_PIECES, 1, -1):
        spread = _spread(len(ids), num_chars=num_chars, num_pieces=num_pieces)
        pieces = _whole_documents(ids, spread, end_id=end_id)
        if num_chars <= num_in(pieces) <= MOST_FACTOR * num_chars:
            return pieces
    return _whole_documents(ids, (slice(0, num_chars),), end_id=end_id)


def num_in(pieces: tuple[slice, ...]) -> int:
    """Return the number of characters of all pieces."""
    return sum(piece.stop - piece.start for piece in pieces)


def with_surroundings(pieces: tuple[slice, ...], num_chars: int) -> tuple[slice, ...]:
    """Return pieces together with `num_chars` characters on each side, as far as the text goes."""
    return tuple(slice(max(0, piece.start - num_chars), piece.stop + num_chars) for piece in pieces)


def without_pieces(ids: IdArray, pieces: tuple[slice, ...], begin: int) -> IdArray:
    """Return a copy of ids (N,) from `begin` on, without the pieces."""
    is_kept = np.ones(len(ids) - begin, np.bool_)
    for piece in pieces:
        is_kept[max(0, piece.start - begin) : max(0, piece.stop - begin)] = False
    return ids[begin:][is_kept]


def _spread(num_ids: int, num_chars: int, num_pieces: int) -> tuple[slice, ...]:
    pieces = []
    for index in range(num_pieces):
        begin = index * num_ids // num_pieces
        end = (index + 1) * num_ids // num_pieces
        size = (index + 1) * num_chars // num_pieces - index * num_chars // num_pieces
        start = begin + (end - begin - size) // 2
        pieces.append(slice(start, start + size))
    return tuple(pieces)


def _whole_documents(ids: IdArray, pieces: tuple[slice, ...], end_id: int) -> tuple[slice, ...]:
    """Return pieces of at least the same lengths that begin and end between two documents."""
    found = []
    stop = 0
    for piece in pieces:
        # A long document may reach into the next piece.
        start = max(stop, next_border(ids, piece.start, end_id=end_id))
        stop = next_border(ids, start + piece.stop - piece.start, end_id=end_id)
        if start < stop:
            found.append(slice(start, stop))
    return tuple(found)


def next_border(ids: IdArray, position: int, end_id: int) -> int:
    """Return the first position from `position` on at which a document begins, or N."""
    if position == 0:
        return 0
    # In blocks, because the next border is near and the text may be large.
    for begin in range(position - 1, len(ids), _BLOCK_IDS):
        ends = np.flatnonzero(ids[begin : begin + _BLOCK_IDS] == end_id)
        if len(ends):
            return begin + int(ends[0]) + 1
    return len(ids)

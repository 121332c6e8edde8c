"""The texts of documents beside a run: kept as they are, and read with the care of its other
files."""

import gzip
import json
import os
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import kept_texts
from charrnn.text.kept_texts import KEPT_TEXTS, pack_texts, read_kept_texts, seal_of

pytestmark = pytest.mark.usefixtures("here")
DIGEST = "a1" * 32 + "-docx"
TEXTS = {DIGEST: "It rained.\n", "0" * 64 + "-epub": 'the \\ and the "\u2028", 河\n'}


def written(packed):
    """Put a file into the folder of a run."""
    Path(KEPT_TEXTS).write_bytes(packed)
    return packed


def refusal(packed, seal=None):
    """The warning about a file, of which nothing is read."""
    with pytest.warns(RuntimeWarning) as warned:
        texts = read_kept_texts(Path(), seal or seal_of(packed))
    assert dict(texts) == {} and KEPT_TEXTS in texts.problem
    [warning] = warned
    return str(warning.message)


@given(st.dictionaries(st.integers(0, 2**256 - 1), st.text(), max_size=4))
def test_the_texts_come_back_as_they_were(numbered):
    texts = {f"{number:064x}-odt": text for number, text in numbered.items()}
    packed = written(pack_texts(texts))
    assert dict(read_kept_texts(Path(), seal_of(packed))) == texts


def test_a_run_without_documents_has_none():
    assert dict(read_kept_texts(Path(), None)) == {} == dict(read_kept_texts(None, None))


def test_every_changed_byte_and_every_other_file_is_named():
    packed = written(pack_texts(TEXTS))
    seal = seal_of(packed)
    draw = random.Random(0)
    for index in range(len(packed)):
        changed = bytearray(packed)
        changed[index] ^= draw.randrange(1, 256)
        written(bytes(changed))
        assert "is not the file that the checkpoint has recorded" in refusal(packed, seal)
    for other in (b"", packed[:-1], packed + b"\0"):
        written(other)
        assert "is not the file that the checkpoint has recorded" in refusal(packed, seal)
    Path(KEPT_TEXTS).unlink()
    assert "No such file" in refusal(packed, seal)


def test_a_file_that_no_checkpoint_has_recorded_is_not_read():
    packed = written(pack_texts(TEXTS))
    with pytest.warns(RuntimeWarning, match="is not the file"):
        assert dict(read_kept_texts(Path(), None)) == {}
    assert dict(read_kept_texts(Path(), seal_of(packed))) == TEXTS


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_neither_followed_nor_waited_for(kind):
    packed = pack_texts(TEXTS)
    if kind == "link":
        Path("elsewhere").write_bytes(packed)
        Path(KEPT_TEXTS).symlink_to("elsewhere")
    elif kind == "pipe":
        os.mkfifo(KEPT_TEXTS)
    else:
        Path(KEPT_TEXTS).mkdir()
    assert "is not a regular file" in refusal(packed)


def line_of(value):
    return f'["{DIGEST}", {value}]\n'.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"not JSON",
        json.dumps(TEXTS).encode(),
        line_of(7),
        line_of([]),
        line_of('"one"')[:-1],
        b"[" * 100_000,
        line_of('{"a": [' + "{}," * 100_000 + "{}]}"),
    ],
)
def test_what_is_no_text_is_refused_unparsed(content):
    packed = written(gzip.compress(content))
    tracemalloc.start()
    try:
        refusal(packed)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(content) + 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", ['"one" + "two"', '"one", "two"', '"one\\"'])
def test_a_text_that_is_no_string_is_not_there(value):
    packed = written(gzip.compress(line_of(value)))
    assert read_kept_texts(Path(), seal_of(packed)).get(DIGEST) is None


def test_no_more_is_unpacked_than_a_limit(monkeypatch):
    monkeypatch.setattr(kept_texts, "MAX_KEPT", 10_000)
    packed = written(gzip.compress(line_of(f'"{"a" * 10_000_000}"')))
    assert len(packed) < 10_000
    tracemalloc.start()
    try:
        assert "something else than texts" in refusal(packed)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_is_not_read_is_not_written_and_that_is_said(monkeypatch):
    monkeypatch.setattr(kept_texts, "MAX_KEPT", 300)
    texts = TEXTS | {"f" * 64 + "-rtf": "long " * 100}
    with pytest.warns(RuntimeWarning, match="keeps the texts of 2 documents, .* read 1 other"):
        packed = written(pack_texts(texts))
    assert dict(read_kept_texts(Path(), seal_of(packed))) == TEXTS

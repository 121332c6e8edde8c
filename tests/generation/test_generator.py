"""Long and many texts: memory stays small or is refused before any is drawn. B texts at once, N
characters."""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

import charrnn
from charrnn.generation import generator, sampling
from charrnn.generation.sample_options import SampleOptions, SeveralOptions
from charrnn.generation.sampling import DrawnCharacters

MIB = 2**20


@pytest.fixture
def model(alphabet_run):
    return charrnn.load(alphabet_run)


@pytest.fixture
def nothing_is_drawn(monkeypatch):
    """Fail as soon as a character is drawn."""
    monkeypatch.setattr(sampling.Rows, "draw", lambda rows: pytest.fail("something was drawn"))


@contextmanager
def at_most(num_bytes):
    """Fail if more memory than that was taken at any time in this block."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < num_bytes, f"{peak / MIB:.1f} MiB"


@pytest.mark.parametrize("group_chars", [1, 100, 170])
@pytest.mark.parametrize("stops", [(), ("mn",)])
def test_texts_are_the_same_however_many_are_drawn_together(model, group_chars, stops, monkeypatch):
    options = {
        "length": 50,
        "temperature": 3.0,
        "seed": 4,
        "prime": "k",
        "stops": stops,
    }
    expected = model.samples(5, **options)
    assert expected[0].text == "".join(piece.text for piece in model.stream(**options))
    monkeypatch.setattr(generator, "GROUP_CHARS", group_chars)
    assert list(model.generator.iter_samples(SeveralOptions(5, **options))) == expected
    written = [
        "".join(text.chunks()) for text in model.generator.begin_each(5, SampleOptions(**options))
    ]
    assert written == [text.text for text in expected]


@pytest.mark.slow
def test_several_long_texts_are_written_in_little_memory(model, monkeypatch):
    drawn_together = set()

    def draw(rows):
        """Make characters as fast as they can be made."""
        drawn_together.add(len(rows._texts))
        shape = len(rows._texts), 1024
        lengths = np.full(len(rows._texts), 1024)
        zeros = np.zeros(shape)
        rows._add(DrawnCharacters(np.full(shape, 2), zeros, values=zeros, lengths=lengths))
        return 1024 * len(rows._texts)

    monkeypatch.setattr(sampling.Rows, "draw", draw)
    for text in model.generator.begin_each(7, SampleOptions(length=900_000)):
        next(text.chunks())
    assert drawn_together == {2}, "as many as have two million characters"
    monkeypatch.setattr(generator, "GROUP_CHARS", 20_000)
    with at_most(2 * MIB):
        num_chars = 0
        for count, length in ((3, 300_000), (40, 5_000)):
            for text in model.generator.begin_each(count, SampleOptions(length=length)):
                num_chars += sum(len(chunk) for chunk in text.chunks())
    assert num_chars == 3 * 300_000 + 40 * 5_000


def test_nothing_is_drawn_for_texts_without_length(model, nothing_is_drawn):
    options = SeveralOptions(3, length=0)
    assert [text.text for text in model.generator.iter_samples(options)] == ["", "", ""]
    assert not "".join(model.write(length=0))
    assert list(model.stream(length=0)) == []

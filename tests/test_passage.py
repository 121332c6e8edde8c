"""The stretch of a text that shows a cell at work."""

import numpy as np
import pytest

from charrnn.microscope.passage import MAX_LENGTH, NUM_LINES, choose_passage, most_changes

QUIET = "a plain line of words\n"


def test_the_lines_around_the_only_quotation_are_chosen() -> None:
    text = QUIET * 40 + 'she said "come in out of the rain"\n' + QUIET * 40
    labels = np.zeros(len(text), bool)
    begin = text.index('"')
    labels[begin : text.rindex('"')] = True
    passage = choose_passage(text, labels, 0)
    assert passage.start <= begin < text.rindex('"') < passage.stop
    assert text[passage].count("\n") == NUM_LINES
    assert passage.start == 0 or text[passage.start - 1] == "\n"


def test_nothing_before_the_first_character_allowed_is_chosen() -> None:
    text = '"x"\n' * 10 + QUIET * 30
    labels = np.array([character == "x" for character in text])
    first = 10 * 4 + 5
    assert choose_passage(text, labels, first).start >= first


def test_documents_are_lines_of_a_passage() -> None:
    text = "Tom\0" * 40 + "Ann\0" + "Tom\0" * 40
    passage = choose_passage(text, np.array([character in "An" for character in text]), 0)
    assert "Ann\0" in text[passage]
    assert text[passage].count("\0") == NUM_LINES
    assert passage.start == 0 or text[passage.start - 1] == "\0"


@pytest.mark.parametrize("text", ["b" * 3000, "a" * 2000 + "\n" + "b" * 2000, "one\ntwo\n", "x"])
def test_texts_with_few_lines_give_a_passage_too(text: str) -> None:
    labels = np.arange(len(text)) % 7 == 0
    passage = choose_passage(text, labels, len(text) // 2)
    assert len(text) // 2 <= passage.start < passage.stop <= len(text)
    assert passage.stop - passage.start <= MAX_LENGTH
    assert passage.stop - passage.start >= min(100, len(text) // 2)


def test_a_short_line_at_the_end_beats_no_passage_of_many_lines() -> None:
    text = "Nobody spoke.\n" * 20 + "a\n"
    ends_of_lines = np.array([character == "\n" for character in text])
    assert text[choose_passage(text, ends_of_lines, 0)].count("\n") == NUM_LINES


@pytest.mark.parametrize("first", [0, 40])
def test_the_ablated_segment_has_the_most_label_changes(first: int) -> None:
    labels = np.random.default_rng(1).random(300) < np.linspace(0, 0.5, 300) ** 2
    labels[5:30:2] = True
    for length in (1, 7, 60, 300 - first):
        begin = most_changes(labels, first, length)
        assert first <= begin <= 300 - length

        def num_changes(start: int, length: int = length) -> int:
            return int((np.diff(labels[start : start + length].astype(int)) != 0).sum())

        assert num_changes(begin) == max(map(num_changes, range(first, 300 - length + 1)))

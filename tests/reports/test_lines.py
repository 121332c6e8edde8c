"""The losses of lines add up, however a text is divided. M scored characters."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SMALL_RUN
from hypothesis import given
from hypothesis import strategies as st
from placed_words import WORD, lines_by_grep, write_texts
from rich.console import Console

import charrnn
from charrnn.model.losses import CharLosses
from charrnn.reports import lines
from charrnn.reports.lines import ScoredText
from charrnn.text.text_files import FileRecord


def scored(text, positions, first=0, num_runs=1):
    generator = np.random.default_rng(5)
    losses = [
        CharLosses(positions, generator.exponential(size=len(positions)).astype(np.float32))
        for _ in range(num_runs)
    ]
    return ScoredText(
        text,
        len(text),
        first,
        losses,
        ends="\n\0",
    )


@pytest.mark.parametrize("as_bytes", [False, True])
@given(text=st.text(alphabet="ab\n\0é", min_size=2, max_size=80), first=st.sampled_from([0, 3]))
def test_lines_add_up(as_bytes, text, first):
    content = text.encode() if as_bytes else text
    start = max(1, first)
    if len(content) + first <= start:
        return
    found = scored(content, np.arange(start, first + len(content)), first, num_runs=2)
    lines = list(found.iter_lines())

    # The same sums by a naive loop over the characters, of which each ends a line or does not.
    naive = {}
    line = 1
    for index, character in enumerate(text.encode().decode("latin-1") if as_bytes else text):
        if index + first >= start:
            naive.setdefault(line, []).append(float(found.losses[1].nats[index + first - start]))
        if character in "\n\0":
            line += 1

    assert {line.line: line.num_chars for line in lines} == {
        number: len(nats) for number, nats in naive.items()
    }
    assert [line.nats[1] for line in lines] == pytest.approx([sum(nats) for nats in naive.values()])
    shown = text.replace("\0", "\n").split("\n")
    assert [line.text for line in lines] == [shown[line.line - 1] for line in lines]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_paragraph_is_scored_by_its_sentences_and_words(as_bytes):
    text = 'He came.  "Why?" she asked. Nobody answered...\n\nIt was late'
    content = text.encode() if as_bytes else text
    found = scored(content, np.arange(1, len(content)))
    assert found.usual_unit() == lines.LINE
    sentences = [loss.text for loss in found.iter_lines(lines.SENTENCE)]
    assert sentences == ["He came.", '"Why?" she asked.', "Nobody answered...", "", "It was late"]
    words = found.ends_of_list(lines.WORD, num=3)
    least, most = words.lists["least"], words.lists["most"]
    assert words.num_units == len(text.split()) + 1 and len(least) == len(most) == 3
    excesses = [loss.excess for loss in found.iter_lines(lines.WORD) if loss.text]
    assert least[0].excess == max(excesses) and most[0].excess == min(excesses)
    assert {loss.line for loss in found.iter_lines(lines.WORD)} == {1, 2, 3}
    long = "It was late. " * 30
    assert scored(long, np.arange(1, len(long))).usual_unit() == lines.SENTENCE


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_sentence_goes_over_the_ends_of_wrapped_lines_alone(as_bytes):
    wrapped = (
        "The keeper of the lamp went up the stairs in the evening, and\n"
        "he lit it. Nobody saw the light but the two who had rowed out\n"
        "to the rocks. They came\n\nback."
    )
    verse = "\0The rain, the rain,\nThe rain it raineth.\0Every\n"
    content = (wrapped + verse).encode() if as_bytes else wrapped + verse
    found = scored(content, np.arange(1, len(content)))
    sentences = {loss.text: loss.line for loss in found.iter_lines(lines.SENTENCE) if loss.text}
    assert [*sentences.values()] == [1, 2, 3, 5, 6, 7, 8]
    firsts = ["The", "Nobody", "They", "back.", "The", "The", "Every"]
    assert [text.partition(" ")[0] for text in sentences] == firsts
    assert "evening, and he lit it." in next(iter(sentences))
    assert sum(loss.num_chars for loss in found.iter_lines(lines.SENTENCE)) == len(content) - 1


def test_the_excess_is_large_for_an_unlikely_line():
    losses = CharLosses(
        np.arange(1, 300), np.where(np.arange(1, 300) // 5 == 17, 4.0, 1.0).astype(np.float32)
    )
    text = "aaaa\n" * 60
    first, second, *_ = sorted(
        ScoredText(text, 300, 0, [losses]).iter_lines(),
        key=lambda line: -line.excess,
    )
    assert first.line == 18 and second.excess < 0
    assert first.excess == pytest.approx(
        (20 - 5 * losses.blocks.mean) / (losses.nats.std() * 5**0.5), rel=1e-5
    )


def test_a_text_of_several_blocks_has_the_same_lines(monkeypatch):
    text = "one\n\nthree, which is longer than a block\nfour\0five"
    found = scored(text, np.arange(1, len(text)))
    whole = list(found.iter_lines())
    monkeypatch.setattr(lines, "BLOCK", 7)
    assert [one.line for one in whole] == [1, 2, 3, 4, 5]
    assert list(found.iter_lines()) == whole


@pytest.mark.trained
@pytest.mark.parametrize(
    "kind, documents",
    [
        ("txt", {}),
        ("txt", {"join_lines": True}),
        ("txt", {"documents": "lines"}),
        ("txt", {"documents": "blank-lines", "join_lines": True}),
        ("csv", {"column": "text"}),
        ("cr.csv", {"column": "text"}),
        ("jsonl", {"column": "text"}),
    ],
)
def test_the_line_of_each_word_is_that_of_grep(kind, documents, tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    write_texts(texts, kind, seed=2)
    config = charrnn.Config(**{**SMALL_RUN, "corpus": (str(texts),), "steps": 1, **documents})
    list(charrnn.train(config, out=tmp_path / "run"))
    model = charrnn.load(tmp_path / "run")
    expected = lines_by_grep(texts)

    for text in (texts, None):
        lines = list(charrnn.losses_by_line([model], text, max_chars=None))
        found = {}
        for line in lines:
            first_word = WORD.search(line.text)
            if first_word:
                found[first_word[0]] = (line.file, line.line)
        assert len(found) > 1
        assert found.items() <= expected.items()


def test_places_in_documents_are_paragraphs():
    text = "One line.\nAnother one.\n"
    found = scored(text, np.arange(1, len(text)))
    assert found.ends_of_list("line").place_unit == "line"
    for units, expected in (((True, True), "paragraph"), ((True, False), "line")):
        files = [FileRecord(name="a", label="a", is_read_by_pandoc=unit) for unit in units]
        source = SimpleNamespace(files=files, places=lambda at: [None] * len(at))
        ends = replace(found, source=source).ends_of_list("line")
        assert ends.place_unit == expected
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(ends.view(["run"]))
        assert f" {expected} " in console.export_text()

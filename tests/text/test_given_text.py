"""Texts that a program gives: divided into documents as the run divides its own text.

Tests `cli.arguments`, too.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from built_runs import build_chain

import charrnn
from charrnn.cli.arguments import read_prime, read_text_corpus
from charrnn.config.settings import Config
from charrnn.errors import DataError, UsageError, named
from charrnn.text.given_text import stand_in_notes, whole_text
from charrnn.text.vocab import Vocab, encode_given

NAMES = ("bad", "cab", "dab")
"""Documents of the model below."""
FILES = {
    "lines": "bad\n\ncab\r\ndab",
    "blank-lines": "bad\n\ncab\n \ndab\n",
    "column": "poem,n\nbad,1\ncab,2\ndab,3\n",
}
"""The same three documents as a file, by how a run divides its text."""
TABLES = {
    "csv": FILES["column"],
    "tsv": FILES["column"].replace(",", "\t"),
    "json": '[{"poem": "bad"}, {"poem": "cab"}, {"poem": "dab"}]',
    "jsonl": '{"poem": "bad"}\n{"poem": "cab"}\n{"poem": "dab"}\n',
    "txt": "bad\ncab\ndab\n",
    "table.txt": FILES["column"],
    "json.txt": '[{"poem": "bad"}, {"poem": "cab"}, {"poem": "dab"}]',
}
"""The same three documents as values of a column, by the suffix; a list has a value a line."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("given")


def documents_run(folder, documents="lines"):
    """Build a run of documents without a text of its own."""
    corpus = folder / "none.txt"
    corpus.write_text("abcd\0")
    path = folder / f"of-{documents}"
    if not path.exists():
        build_chain(path, "\0abcd", corpus=corpus, documents=documents)
    return charrnn.load(path)


def naive_logprob(model, ids):
    """Sum ln p of each of ids after the first, one step of the NumPy network at a time."""
    total = 0.0
    state = model.stepper.initial_state(1)
    for now, after in pairwise(ids):
        logits, state = model.stepper.step(np.array([now]), state)
        row = logits[0].astype(np.float64)
        total += row[after] - math.log(np.exp(row - row.max()).sum()) - row.max()
    return total


@pytest.mark.filterwarnings("ignore:turned 1 CRLF line end")
@pytest.mark.parametrize("documents", FILES)
def test_a_text_of_documents_is_divided_as_the_run_and_the_command_do(folder, documents):
    model = documents_run(folder, documents)
    file = folder / f"text-{documents}.{'csv' if documents == 'column' else 'txt'}"
    file.write_text(FILES[documents])
    command = read_text_corpus(str(file), model.config).content
    assert command == "bad\0cab\0dab\0"
    expected = charrnn.evaluate(model, command)

    given = [file, list(NAMES), [f"{name}\n" for name in NAMES], tuple(NAMES), iter(NAMES)]
    if documents != "column":
        given += [FILES[documents]]
    else:
        given += ["bad\ncab\ndab\n"]
    for text in given:
        assert charrnn.evaluate(model, text) == expected
    assert model.encode(file).text == model.encode(list(NAMES)).text == command
    assert charrnn.evaluate_runs([model], list(NAMES)).rows[0].loss.num_chars == len(command)


def test_files_and_lists_are_read_wherever_a_text_is(folder):
    model = documents_run(folder)
    file = folder / "three.txt"
    file.write_text(FILES["lines"].replace("\r\n", "\n"))
    text = "bad\0cab\0dab\0"
    for given in (file, list(NAMES), "bad\ncab\ndab\n"):
        assert (model.trace(given).cells == model.trace(text).cells).all()
        assert model.study(given).text.text == text
        assert model.gradients_with([], given, max_lag=3) == model.gradients_with(
            [], text, max_lag=3
        )
        assert [line.text for line in charrnn.losses_by_line([model], given)] == list(NAMES)

    # A text to continue: the last document is open.
    for given in (file, list(NAMES)):
        assert model.predict(given) == model.predict("dab")
        assert model.sample(prime=given, length=3, seed=1).text == (
            model.sample(prime="dab", length=3, seed=1).text
        )
        numbers = model.numbers(given)
        assert [step.character for step in numbers.steps] == ["\0", *"dab"]


def test_texts_of_a_list_begin_on_lines_of_their_own(alphabet_run, tmp_path):
    model = charrnn.load(alphabet_run)
    file = tmp_path / "text.txt"
    file.write_text("abcd\nefgh\n")
    for given in (file, ["abcd", "efgh\n"], ["abcd\n", "efgh\n"]):
        assert charrnn.evaluate(model, given) == charrnn.evaluate(model, "abcd\nefgh\n")
    assert model.encode([file, "ab"]).text == "abcd\nefgh\nab"


def test_log_probabilities_of_documents_are_those_of_a_loop(folder):
    """In nats, with END: float32 of few steps, so far below a thousandth."""
    model = documents_run(folder)
    end = model.config.end_id
    expected = []
    for name in (*NAMES, ""):
        ids = model.vocab.encode(name).tolist()
        expected.append(naive_logprob(model, [end, *ids, end]))
    found = model.logprob([*NAMES, ""])
    assert found.shape == (4,)
    assert found.dtype == np.float64
    assert found == pytest.approx(expected, abs=1e-4)
    for name, value in zip((*NAMES, ""), expected, strict=True):
        alone = model.logprob(name)
        assert isinstance(alone, float)
        assert alone == pytest.approx(value, abs=1e-4)
    assert model.logprob("bad\ncab\n") == pytest.approx(sum(expected[:2]), abs=1e-4)
    assert model.logprob([]).shape == (0,)
    report = charrnn.evaluate(model, list(NAMES))
    assert sum(expected[:3]) == pytest.approx(-report.nats_per_char * report.num_chars, abs=1e-3)


def test_the_probabilities_of_all_short_documents_and_the_rest_are_one(folder):
    model = documents_run(folder)
    characters = [c for c in model.vocab.characters if c not in ("", "\0")]
    short = ["", *characters]
    total = np.exp(model.logprob(short)).sum()
    longer = np.exp(
        [naive_logprob(model, [model.config.end_id, *model.vocab.encode(c)]) for c in characters]
    )
    begun = longer.sum() - np.exp(model.logprob(characters)).sum()
    unknown = np.exp(naive_logprob(model, [model.config.end_id, 0]))
    assert total + begun + unknown == pytest.approx(1, abs=1e-4)


def test_the_log_probability_of_running_text_follows_its_context(alphabet_run):
    model = charrnn.load(alphabet_run)
    ids = model.vocab.encode("xbca").tolist()
    expected = naive_logprob(model, ids)
    assert model.logprob("bca", context="x") == pytest.approx(expected, abs=1e-4)
    assert model.logprob("xbca") == pytest.approx(expected, abs=1e-4)
    assert model.logprob(["xbca", "bc"])[0] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(DataError, match="has 1 character; its probability needs at least 2"):
        model.logprob("a")


def test_a_context_that_is_a_path_is_refused_by_its_name(alphabet_run, tmp_path):
    with pytest.raises(UsageError, match=r"context.* give the characters themselves"):
        charrnn.load(alphabet_run).logprob("bca", context=tmp_path)


def test_bytes_of_documents_are_divided_as_their_characters_are():
    config = Config(alphabet="byte", documents="lines")
    assert whole_text("é\nab\n".encode() + b"\xff", config) == "é\0ab\0".encode() + b"\xff\0"


def test_a_file_of_which_all_is_left_out_is_an_empty_prime_and_no_text(tmp_path):
    path = tmp_path / "head.md"
    path.write_text("---\ntitle: The lamp\n---\n")
    assert read_prime("--prime", str(path), config=Config()) == ""
    with pytest.raises(DataError, match=r"head\.md has nothing that somebody wrote"):
        read_text_corpus(str(path), Config())


@pytest.mark.parametrize("suffix", TABLES)
def test_a_column_is_read_out_of_every_kind_of_table_that_training_reads(tmp_path, suffix):
    path = tmp_path / f"given.{suffix}"
    path.write_text(TABLES[suffix])
    config = Config(documents="column", column="poem")
    assert str(read_text_corpus(str(path), config).content) == "bad\0cab\0dab\0"


@pytest.mark.parametrize(
    "name, content",
    [("a.csv", "id,body\n1,a\n"), ("a.csv", "poem,poem\n1,a\n"), ("a.jsonl", '{"body": "a"}')],
)
def test_a_table_without_the_column_of_the_run_is_told_what_it_reads(tmp_path, name, content):
    """Only a training has an option for another column."""
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match="the run reads 'poem'; give one column that name") as error:
        read_text_corpus(str(path), Config(documents="column", column="poem"))
    assert named("column") not in str(error.value)


def test_a_note_names_characters_that_nobody_sees():
    vocab = Vocab("char", ("", " ", "a", "'"))
    text = encode_given(vocab, "a\u00a0a\u2019\u2009a")
    [note] = stand_in_notes("run", text)
    assert note.endswith("and reads U+00A0 U+2009 as a blank, ’ as '.")

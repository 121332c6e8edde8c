"""The passages of a text that stand in the training text are those that a naive search finds, with
their places, and are underlined. N characters of the text, M of the corpus.

Tests `reports.learned_texts`, too."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from built_runs import build_chain
from conftest import SMALL_RUN
from example_results import provenance
from hypothesis import given, settings
from hypothesis import strategies as st
from known_weights import CYCLE, chain_text

import charrnn
from charrnn.errors import UsageError
from charrnn.reports import provenance as plugin
from charrnn.reports.provenance import find_passages
from charrnn.text import copies
from charrnn.text.copies import known_documents, loose_key
from charrnn.text.corpus import Place

EXAMPLES = settings(max_examples=60)


def spans(text, corpus, min_length=30):
    """(start, length, first place in the corpus) of the passages."""
    matches = find_passages(text, corpus, min_length=min_length)
    return [tuple(match[:3]) for match in matches.tolist()]


def naive_spans(text, corpus, min_length):
    """(start, length, first place in the corpus) of the matches that no other contains, looked up
    one by one."""
    extents = []
    for start in range(len(text)):
        stop = start
        while stop < len(text) and text[start : stop + 1] in corpus:
            stop += 1
        extents.append((start, stop))
    return [
        (start, stop - start, corpus.find(text[start:stop]))
        for start, stop in extents
        if stop - start >= min_length
        and not any(a <= start and stop <= b and (a, b) != (start, stop) for a, b in extents)
    ]


def positions(found):
    """The positions of the characters in some spans."""
    return {start + index for start, length, _ in found for index in range(length)}


@st.composite
def text_and_corpus(draw):
    """Both of the same few letters, pieces of each repeated and pieces of the corpus in the
    text."""
    letters = st.text(draw(st.sampled_from(["a", "ab", "ab\n", "aé日🙂\ud800"])), max_size=30)
    corpus = draw(letters)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(corpus)))
        corpus += corpus[start : start + draw(st.integers(0, 12))] + draw(letters)
    text = draw(letters)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(corpus)))
        text += corpus[start : start + draw(st.integers(0, 20))] + draw(letters)[:2]
    return text, corpus


@given(text_and_corpus(), st.integers(1, 9), st.integers(1, 40), st.sampled_from([None, 3, 1]))
@EXAMPLES
def test_it_equals_a_search(texts, min_length, block_chars, num_hashes):
    text, corpus = texts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "BLOCK_CHARS", block_chars)
        if num_hashes:
            hashes = copies.window_hashes
            patch.setattr(copies, "window_hashes", lambda *of: hashes(*of) % np.uint64(num_hashes))
        found = find_passages(text, corpus, min_length=min_length).tolist()
    naive = naive_spans(text, corpus, min_length)
    assert [tuple(match[:3]) for match in found] == naive
    for start, length, _, num_places in found:
        passage = text[start : start + length]
        assert num_places == sum(corpus.startswith(passage, at) for at in range(len(corpus)))


@given(text_and_corpus(), st.integers(1, 9), st.integers(1, 40), st.integers(1, 9))
@EXAMPLES
def test_where_not_all_pairs_are_followed_the_share_is_the_same(texts, min_length, block, pairs):
    text, corpus = texts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "BLOCK_CHARS", block)
        patch.setattr(copies, "MAX_PAIRS", 1)
        patch.setattr(copies, "LEAST_PAIRS", pairs)
        found = spans(text, corpus, min_length)
    assert positions(found) == positions(naive_spans(text, corpus, min_length))
    for start, length, source in found:
        assert corpus.startswith(text[start : start + length], source)
        assert length >= min_length


@given(text_and_corpus(), st.integers(1, 9))
@EXAMPLES
def test_a_text_repeats_what_a_search_finds_elsewhere_in_it(texts, length):
    """Windows that occur again without an overlap are covered, if they have no more places."""
    text = "".join(texts)
    found = [repeat[:3] for repeat in copies.find_repeats(text, length).tolist()]
    for start, size, place in found:
        assert text[start : start + size] == text[place : place + size]
        assert abs(start - place) >= size >= length
    windows = [text[start : start + length] for start in range(len(text) - length + 1)]
    for start, window in enumerate(windows):
        others = [other for other, same in enumerate(windows) if same == window and other != start]
        if len(others) == 1 and abs(others[0] - start) >= length:
            assert start in positions(found) and start + length - 1 in positions(found)


def test_a_repeated_character_is_followed_from_few_places():
    """There are 594 million pairs."""
    assert positions(spans("a" * 3_000 + "b", "a" * 200_000)) == {*range(3_000)}
    assert len(spans("a" * 5_000, "a" * 100)) == 4_901


def test_passages_that_overlap_are_both_told_and_counted_once_in_json_too():
    found = provenance("xabcdefgh", (1, 6), (3, 6))
    data = found.to_json()
    assert (len(data["passages"]), data["num_copied"], data["share_copied"]) == (2, 8, 8 / 9)
    assert data["passages"][0]["place"] == {
        "file": "text.txt",
        "line": 31_337,
        "column": 1,
        "unit": "line",
    }
    assert found.longest == found.passages[0]


def test_a_model_has_its_own_corpus(lstm, corpus, corpus_file, monkeypatch):
    monkeypatch.setattr(plugin, "HELD_OUT_CHARS", 1_000)
    model = charrnn.load(lstm.path)
    begin = int(0.9 * len(corpus.text))
    copied, held_out = corpus.text[1_000:1_200], corpus.text[begin : begin + 1_000]
    found = model.provenance("Ж€!" + copied.replace("\n", "\r\n") + "Ж€!")
    assert found.text == "Ж€!" + copied + "Ж€!", "line ends are those of the corpus"
    [passage] = found.passages
    offset = corpus.text.find(copied)
    assert (passage.start, passage.length, passage.offset) == (3, 200, offset)
    before = corpus.text[:offset]
    assert passage.place == Place(
        file=corpus_file.name,
        line=before.count("\n") + 1,
        column=len(before.rpartition("\n")[2]) + 1,
    )
    # The validation text is not learned from: that it stands in the file is no copy.
    expected = spans(held_out, corpus.text[:begin], 12)
    found = model.provenance(held_out, min_length=12)
    assert [(one.start, one.length, one.offset) for one in found.passages] == expected
    assert found.held_out_share == len(positions(expected)) / len(held_out)
    with pytest.raises(UsageError, match="at least 1"):
        model.provenance("a", min_length=0)


def test_the_training_text_is_read_and_the_held_out_text_searched_once_per_model(lstm, monkeypatch):
    searched = []
    find = plugin.find_passages

    def count(text, corpus, *, min_length):
        searched.append(text)
        return find(text, corpus, min_length=min_length)

    monkeypatch.setattr(plugin, "find_passages", count)
    model = charrnn.load(lstm.path)
    shares = {model.provenance(text).held_out_share for text in ("one", "two", "three")}
    assert len(shares) == 1 and len(searched) == 4
    assert model.reference_text() is model.reference_text()
    model.provenance("four", min_length=12)
    assert len(searched) == 6, "another length has another share"


def test_the_passages_of_a_file_have_both_places(command, tmp_path):
    sentence = "Nobody had ever seen the lamp that she lit.\n"
    Path("novel.txt").write_text(f"{sentence}One.\n\nTwo: {sentence}", encoding="utf-8")
    line = "predict --text novel.txt --within"
    ran = command(line)
    assert ran.code == 0 and "44  Nobody" in ran.out
    assert re.search(r"here novel.txt, line 4, column 6 *\n +there novel.txt, line 1, ", ran.out)
    found = json.loads(command(line, "--json").out)
    assert [one["at"]["line"] for one in found["passages"]] == [1, 4]
    assert (found["num_copied"], found["held_out_share"]) == (88, None)
    assert command(line, "--export", "p.html").code == 0
    page = Path("p.html").read_text("utf-8")
    assert ">line 1</a>" in page and 'Two: <a id="t55" href="#t0">Nobody' in page

    run = build_chain(tmp_path / "run", CYCLE, corpus=Path("novel.txt").absolute())
    ran = command("predict --trace --text novel.txt", run)
    assert "has learned this text: --within compares" in ran.err and "line 1, column 1" in ran.out


def test_a_text_of_which_a_part_is_learned_is_not_called_learned(command, tmp_path):
    """The last tenth of a text is held out, and a text may have more that is new."""
    training = "".join(f"Lamp {number} was lit by nobody.\n" for number in range(100, 180))
    Path("novel.txt").write_text(training, encoding="utf-8")
    run = build_chain(tmp_path / "run", CYCLE, corpus=Path("novel.txt").absolute())
    Path("begun.txt").write_text(training[:1_000], encoding="utf-8")
    Path("half.txt").write_text(training[:1_000] + "x" * 500, encoding="utf-8")
    assert "has learned this text:" in command("predict --trace --text begun.txt", run).err
    assert "has learned 67 % of this text:" in command("predict --trace --text half.txt", run).err


@pytest.mark.trained
@pytest.mark.parametrize("kind", ["lines", "blank-lines", "files", "column"])
def test_the_place_of_a_passage_lies_in_a_document_that_was_learned(kind, tmp_path):
    """Each document of training also begins a longer document before it, which may be held out."""
    documents = []
    for number in range(12):
        document = f"document {number} of a dozen that begin alike"
        documents += [f"{document} and go on", document]
    folder = tmp_path / "texts"
    folder.mkdir()
    texts = {"all.csv": "number;text\n" + "".join(f"7;{document}\n" for document in documents)}
    if kind == "lines":
        texts = {"all.txt": "".join(f"{document}\n" for document in documents)}
    elif kind == "blank-lines":
        texts = {"all.txt": "\n\n".join(documents)}
    elif kind == "files":
        texts = {f"{number:02}.txt": document for number, document in enumerate(documents)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")

    column = "text" if kind == "column" else None
    config = charrnn.Config(
        corpus=(str(folder),),
        documents=kind,
        column=column,
        split=(0.5, 0.5),
        **{**SMALL_RUN, "steps": 1},
    )
    list(charrnn.train(config, out=tmp_path / "run"))
    model = charrnn.load(tmp_path / "run")
    learned = model.training_text()[:].split("\0")[:-1]
    assert 5 < len(learned) < 19
    reference_text = model.reference_text()
    for document in learned:
        [passage] = reference_text.passages(document)
        lines = (folder / passage.place.file).read_text("utf-8").split("\n")
        # The column of a table is that of the value.
        value = lines[passage.place.line - 1].removeprefix("7;")
        assert value in learned
        assert value[passage.place.column - 1 :].startswith(document)
        # What is held out is not counted, either.
        assert passage.num_more == sum(other.startswith(document) for other in learned) - 1
    # A passage that goes over the end of a document stands where it begins.
    [passage] = reference_text.passages("\0".join(learned[:2]))
    [first] = reference_text.passages(learned[0] + "\0")
    assert passage.place == first.place


@EXAMPLES
@given(
    st.lists(st.text("ab", max_size=4), max_size=12),
    st.sets(st.text("ab", max_size=5), max_size=6),
    st.integers(1, 9),
    st.booleans(),
)
def test_documents_are_found_in_slices(corpus, asked, slice_chars, as_bytes):
    joined = "".join(f"{text}\0" for text in corpus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "BLOCK_CHARS", slice_chars)
        known = known_documents(joined.encode() if as_bytes else joined)
    keys = set(map(copies.loose_key, corpus))
    found = {text for text in asked if loose_key(text) in known}
    assert found == {text for text in asked if copies.loose_key(text) in keys}


def test_no_hash_decides_what_is_a_copy(monkeypatch):
    """Two different documents, and two different passages, may have the same hash."""
    monkeypatch.setattr(copies, "hash", lambda _: 0, raising=False)
    known = known_documents("anna\0bob\0", "carl\0")
    assert [loose_key(name) in known for name in ("bob", "Carl", "dora")] == [True, True, False]
    monkeypatch.setattr(copies, "powers_of", lambda base, num: np.ones(num, np.uint64))
    assert spans("jihgfedcba-abcde", "abcdefghij", 5) == [(11, 5, 0)]


@pytest.fixture
def tuned(tmp_path, command):
    """A run that learned second.txt, and started from a run of first.txt."""
    folder = tmp_path / "users" / "zyxwvu"
    folder.mkdir(parents=True)
    first, second = folder / "first.txt", folder / "second.txt"
    text = chain_text(9_000)
    first.write_text(text[:4_500], "utf-8")
    second.write_text(text[4_500:], "utf-8")
    base = build_chain(tmp_path / "base", CYCLE, corpus=first)
    ran = command("train --steps 1 --out tuned --quiet --init-from", base, second)
    assert ran.code == 0, ran.err
    return charrnn.load("tuned"), text


def test_the_text_of_the_model_that_it_started_from_is_searched_too(tuned):
    model, text = tuned
    copied = text[1_000:1_060]
    [passage] = model.provenance(f"{copied}{copied[:3]}").passages
    assert (passage.number, passage.place.file, passage.start) == (1, "first.txt", 0)
    assert passage.length >= 60
    both = model.provenance(text[1_000:1_060] + text[6_000:6_060]).passages
    assert {passage.number for passage in both} >= {0, 1}


def test_no_result_has_the_path_of_a_text(tuned, command, tmp_path):
    _, text = tuned
    for name in ("p.html", "p.json", "p.svg", "p.txt"):
        ran = command("predict tuned", text[1_000:1_060], "--trace", "--export", name)
        assert ran.code == 0, ran.err
        written = Path(name).read_text("utf-8")
        assert "first.txt" in written and "zyxwvu" not in written


@pytest.mark.parametrize(("gone", "why"), [("base", "its run is gone"), ("first", "its text is")])
def test_what_is_not_compared_is_said_in_a_short_sentence(tuned, tmp_path, gone, why):
    model, _ = tuned
    [path] = tmp_path.rglob(f"{gone}*")
    path.rename(tmp_path / "elsewhere")
    with pytest.warns(RuntimeWarning, match=f"base learned before is not compared: {why}"):
        reach = model.provenance("anything").reach
    assert why in reach and "zyxwvu" not in reach and str(tmp_path) not in reach


def test_of_an_included_model_it_is_said_that_its_text_was_never_here(command, tmp_path):
    Path("second.txt").write_text(chain_text(4_500), "utf-8")
    ran = command("train second.txt --steps 1 --out tuned --quiet --init-from prose")
    assert ran.code == 0, ran.err
    with pytest.warns(RuntimeWarning, match="prose learned before is not compared: the model came"):
        charrnn.load("tuned").provenance("anything")

"""The words of a text: what a word is, against a definition of one character at a time; the list of
all; and files of lists that nobody should write."""

import json
import unicodedata
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CheckpointError, UsageError
from charrnn.text import word_list
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import WordList, are_single_words, read_words, words_in

PLACE = Path("given.zip/words")
CHARACTERS = "aZé\u0301_1'’- \n\0字я"
VOCAB = Vocab("char", ("", *"\n '-ABCDEFGIKMNOQRabcdefgiklmnoqrsuvwxyzé"))


class Part:
    """A part of a text, as `CorpusPart` has one."""

    def __init__(self, text, end=None):
        self.begin = 0
        self._text = text
        self._end = len(text) if end is None else end
        self.corpus = SimpleNamespace(ids=np.zeros(0), text=lambda first, last: text[first:last])

    def __len__(self):
        return self._end

    def __getitem__(self, chars):
        return self._text[: self._end][chars]


def naive_words(text):
    """The words of a text, from one character to the next."""
    words, word = [], ""
    for index, character in enumerate(text):
        after = text[index + 1 : index + 2]
        if is_letter(character) or (character in "'’-" and word and is_letter(after)):
            word += character
        else:
            words.append(word)
            word = ""
    return [word for word in [*words, word] if word]


def is_letter(character):
    return bool(character) and unicodedata.category(character)[0] in "LM" and character != "字"


def listed(*texts, vocab=VOCAB):
    return WordList.of(words_in(" ".join(texts)), vocab)


@given(st.text(CHARACTERS, max_size=12))
def test_words_are_runs_of_letters_with_apostrophes_and_hyphens_inside(text):
    assert words_in(text) == naive_words(text)


@pytest.mark.parametrize(
    "text, words",
    [
        ("don't -well-known- 'tis", ["don't", "well-known", "tis"]),
        ("a--b rock'n'roll x'-y", ["a", "b", "rock'n'roll", "x", "y"]),
        ("read_words2(html5)", ["read", "words", "html"]),
        ("naïve re\u0301sume\u0301", ["naïve", "re\u0301sume\u0301"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("北京 ไทย Tokyo東京", ["Tokyo"]),
    ],
)
def test_what_a_word_is(text, words):
    assert words_in(text) == words


@pytest.mark.parametrize("block_chars", [1, 3, 7, 1000])
@given(st.text(CHARACTERS, min_size=1, max_size=30), st.integers(0, 30))
def test_the_words_of_a_part_are_those_before_its_last_cut(block_chars, text, end):
    end = min(end, len(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_list, "BLOCK_CHARS", block_chars)
        patch.setattr(word_list, "MAX_WORD_LENGTH", block_chars - 2)
        found = read_words(Part(text, end)).words
    # What is a word of the part, and of the part with what stands behind it.
    longer = naive_words(text)
    words = [
        word
        for index, word in enumerate(naive_words(text[:end]))
        if longer[index] == word and len(word) <= block_chars - 2
    ]
    assert found == {*words}


def test_a_word_that_goes_on_behind_the_part_is_no_word():
    assert read_words(Part("the king's crown", 8)).words == {"the"}
    assert read_words(Part("the king crown", 8)).words == {"the", "king"}
    assert read_words(Part("the king")).words == {"the", "king"}


def test_a_word_counts_as_it_stands_in_small_letters_and_with_a_capital():
    found = listed("KING Anna lord McBride")
    assert {*found.words} == {"KING", "king", "anna", "lord", "McBride", "mcbride"}
    assert found.all_forms == {
        *("KING", "king", "King", "anna", "Anna", "lord"),
        *("McBride", "mcbride", "Mcbride"),
    }


def test_a_form_that_the_alphabet_cannot_write_is_none():
    found = listed("Anna Lord", "café", "cafe\u0301", "ISLE", "élan")
    assert found.num_left_out == 3, "L and S stand for no character, nor does the mark"
    assert {*found.words} == {"anna", "café", "élan"}
    assert "Élan" not in found.all_forms


def test_the_words_come_back_from_a_file():
    found = listed("Anna doesn't know the KING's un-known", "café")
    assert WordList.from_bytes(found.to_bytes(), VOCAB, PLACE) == found


def test_the_file_of_no_words_is_one():
    found = listed("1 2 3")
    assert WordList.from_bytes(found.to_bytes(), VOCAB, PLACE) == found


def test_sorted_words_share_their_beginnings_in_the_file():
    content = json.loads(zlib.decompress(listed("king kings kind").to_bytes()))
    assert content["words"] == "0kind3g4s"


def file_of(**changes):
    content = {"version": 1, "letters": "abé", "joiners": "'-", "capitals": "aA", "words": "0a1b"}
    content |= {"letters": "aAbé"} | changes
    return zlib.compress(json.dumps(content).encode())


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"", "cut"),
        (b"no zlib", "header"),
        (file_of()[:-5], "cut"),
        (file_of() + b"more", "cut"),
        (zlib.compress(b"[1]"), "no list of words"),
        (zlib.compress(b"{"), "not JSON"),
        (file_of(version=2), "newer charrnn"),
        (file_of(version=True), "no list of words"),
        (file_of(words=7), "a part of the list is missing"),
        (file_of(words="0b0a"), "not sorted"),
        (file_of(words="0a0a"), "not sorted"),
        (file_of(words="0a2b"), "not sorted"),
        (file_of(words="a1b"), "not sorted"),
        (file_of(words="0a1"), "not sorted"),
        (file_of(words="0a" + "9" * 999 + "b"), "not sorted"),
        (file_of(words="0" + 201 * "a"), "too long"),
        (file_of(words="0az"), "no word of its letters"),
        (file_of(words="0a-"), "no word of its letters"),
        (file_of(words="0a--b"), "no word of its letters"),
        (file_of(words="0a b"), "no word of its letters"),
        (file_of(letters="aAbéж"), "letters are not those of the alphabet"),
        (file_of(letters="aAbéa"), "letters are not those of the alphabet"),
        (file_of(letters="aAbé'"), "letters are not those of the alphabet"),
        (file_of(capitals="aQ"), "capitals are no letters"),
        (file_of(capitals="aAb"), "capitals are no letters"),
        (file_of(capitals="aAab"), "capitals are no letters"),
    ],
)
def test_another_file_is_refused(data, problem):
    with pytest.raises(CheckpointError, match=problem) as raised:
        WordList.from_bytes(data, VOCAB, PLACE)
    assert str(PLACE) in raised.value.message


def test_no_more_of_a_file_is_unpacked_than_a_list_may_have(monkeypatch):
    monkeypatch.setattr(word_list, "MAX_LIST_BYTES", 1000)
    with pytest.raises(CheckpointError, match="more than 1,000 bytes unpacked"):
        WordList.from_bytes(zlib.compress(b" " * 2000), VOCAB, PLACE)


def test_words_that_share_much_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(word_list, "MAX_LIST_CHARS", 200)
    entries = "0" + 50 * "a" + "".join(f"{n}b" for n in range(50, 40, -1))
    with pytest.raises(CheckpointError, match="too long"):
        WordList.from_bytes(file_of(words=entries), VOCAB, PLACE)
    with pytest.raises(UsageError, match="more than a file holds"):
        listed(*(50 * "a" + 50 * n * "b" for n in range(5))).to_bytes()


@pytest.mark.parametrize(
    "text, problem",
    [
        ("我们去北京。 go\n", "Chinese has no blanks between words"),
        ("ไทยเขียนโดยไม่มีช่องว่าง ok\n", "Thai has no blanks"),
        ("ລາວຂຽນໂດຍບໍ່ມີຊ່ອງຫວ່າງ ok\n", "Lao has no blanks"),
        ("CCO\nCC(=O)O\nc1ccccc1\nthe king\n", "75% of its lines are molecules"),
        ("1 2 3\n", "it has no words"),
    ],
)
def test_a_text_whose_words_cannot_be_told_is_refused(text, problem):
    with pytest.raises(UsageError, match=problem):
        read_words(Part(text)).check("mine")


def test_a_few_letters_of_a_script_without_blanks_are_free():
    found = read_words(Part("the king of 東京 and 北京 is known\n"))
    found.check("mine")
    assert found.words == {"the", "king", "of", "and", "is", "known"}
    [note] = found.notes
    assert "runs of letters of Chinese are free" in note


def test_only_the_first_characters_of_a_very_long_text_are_read(monkeypatch):
    monkeypatch.setattr(word_list, "MOST_CHARS", 8)
    found = read_words(Part("the king's crown"))
    assert found.words == {"the"}
    assert found.notes == ["words are those of the first 8 characters of the text"]


def test_documents_of_single_words_are_told_from_others():
    assert are_single_words(["anna", "o'neil", "new york"])
    assert not are_single_words(["anna", "new york", "pass1", "wow!"])

"""The stages of a text come one after the other, in their order.

What each of them does is tested beside its module.
"""

import json
from pathlib import Path

import pytest
from read_texts import read_corpus

from charrnn.config.settings import Config
from charrnn.text.stages import STAGES
from charrnn.text.text_files import FileRecord, Line

pytestmark = pytest.mark.usefixtures("here")


def read(content, **settings):
    Path("a.txt").write_text(content)
    return read_corpus(["a.txt"], is_for_training=False, order="sorted", **settings).content


def test_a_text_that_needs_no_stage_passes_through_each_as_it_is():
    file = FileRecord(name="a.txt", label="a.txt")
    lines = [Line(1, "one\ntwo\n")]
    for stage in STAGES:
        assert stage(lines, Config(clean=False), file) is lines


def test_documents_that_differ_in_what_nobody_sees_are_the_same():
    """Repeated documents are found after unseen characters are left out."""
    content = "caf\u00e9\ncafe\u0301\nte\u00ada\ntea\n"
    assert read(content, documents="lines", unique_documents=True) == "caf\u00e9\0tea\0"


def test_documents_between_blank_lines_are_divided_after_their_lines_are_joined():
    line = "The lamp in the window of the house on the hill was lit"
    content = f"{line}\nby a hand that nobody in the village below had ever seen.\n\nIt rained.\n"
    joined = content.replace("lit\nby", "lit by").replace(".\n\n", ".\0")
    assert read(content, documents="blank-lines", join_lines=True) == f"{joined[:-1]}\0"


def test_the_terms_of_a_book_are_known_by_lines_with_characters_that_nobody_sees():
    """What nobody wrote is left out before unseen characters are, whose number is noted."""
    terms = "The Project Gutenberg\u00ad eBook\n\n*** START OF THE PROJECT GUTENBERG EBOOK ***\n\n"
    Path("a.txt").write_text(terms + "It rained.\n" * 40)
    corpus = read_corpus(["a.txt"], is_for_training=False)
    assert corpus.content == "It rained.\n" * 40
    assert not any("nobody sees" in note for note in corpus.notes)


@pytest.mark.parametrize(
    "unseen, noted",
    {
        "\u200b": "left out 1 character of a.txt that nobody sees; `clean=false` keeps it",
        "\u200b\u200b": "left out 2 characters of a.txt that nobody sees; `clean=false` keeps them",
        "e\u0301": "joined 1 letter of a.txt with its accents (NFC); `clean=false` keeps it as it is",
        "e\u0301e\u0301": "joined 2 letters of a.txt with their accents (NFC);"
        " `clean=false` keeps them as they are",
    }.items(),
)
def test_the_words_of_a_note_agree_with_the_number(unseen, noted):
    Path("a.txt").write_text(f"It rained {unseen} all day.\n")
    assert read_corpus(["a.txt"], is_for_training=False).notes == (noted,)


@pytest.mark.parametrize("alphabet", ["char", "exact", "byte"])
def test_half_of_a_character_in_json_is_noted(alphabet):
    """JSON can have half of a surrogate pair, where a program has cut a text inside of an emoji."""
    half = chr(0xD83D)
    Path("a.jsonl").write_text(
        json.dumps({"text": f"cut {half}"}) + "\n" + json.dumps({"text": "b"})
    )
    config = {"documents": "column", "column": "text", "order": "sorted", "alphabet": alphabet}
    corpus = read_corpus(["a.jsonl"], is_for_training=False, **config)
    assert corpus.content in ("cut ?\0b\0", b"cut ?\0b\0")
    assert any("read 1 half character of a.jsonl as ?" in note for note in corpus.notes)


def test_half_of_a_character_in_a_chat_is_noted():
    message = {"name": "Ann", "timestamp_ms": 1}
    messages = [message | {"sender_name": "Ann", "content": f"Hi {chr(0xD83D)}"}] * 30
    Path("a.json").write_text(json.dumps({"messages": messages}))
    corpus = read_corpus(["a.json"], is_for_training=False)
    assert corpus.content == "Ann: Hi ?\n" * 30
    assert any("read 30 half characters of a.json as ?" in note for note in corpus.notes)

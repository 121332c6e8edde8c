"""Formal languages: their strings, the states of a reader, what may come next, and what the
detectors see in them.

Tests `languages` and `languages.making`, too.
"""

import re
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import FORMAL

from charrnn.detectors.registry import DETECTORS
from charrnn.languages.formal_languages import (
    END,
    FORMAL_LANGUAGES,
    find_language,
    make_strings,
)
from charrnn.text.corpus import read_corpus

EXAMPLES = settings(max_examples=30)
NAMES = st.sampled_from(list(FORMAL_LANGUAGES))


def recognises(name, text):
    """Decide by rewriting or splitting whether a string belongs to a language."""
    if name == "dyck":
        while "()" in text:  # remove the innermost ones
            text = text.replace("()", "")
        return text == ""
    if name == "parity":
        bits, _, answer = text.partition("=")
        return set(bits) <= {"0", "1"} and bits != "" and answer == str(bits.count("1") % 2)
    if name == "copy":
        word, _, copied = text.partition("=")
        return word == copied != ""
    if name == "recall":
        return re.fullmatch(r"([abcd])\.+\?\1", text) is not None
    if name == "hello":
        return text == "hello" * (len(text) // 5) != ""
    n = text.count("a")
    letters = "abc" if name == "anbncn" else "ab"
    return n > 0 and text == "".join(letter * n for letter in letters)


def naive_states(name, text):
    """Count in every prefix from its start; by detector."""
    prefixes = [text[: index + 1] for index in range(len(text))]
    if name == "dyck":
        return {"dyck-depth": [sum(1 if c == "(" else -1 for c in prefix) for prefix in prefixes]}
    if name == "parity":
        return {"parity": [prefix.partition("=")[0].count("1") % 2 for prefix in prefixes]}
    if name == "copy":
        return {"copy-position": [len(prefix.partition("=")[2]) for prefix in prefixes]}
    if name in ("hello", "recall"):
        return {}
    counts = {"a-minus-b": [prefix.count("a") - prefix.count("b") for prefix in prefixes]}
    if name == "anbncn":
        counts["b-minus-c"] = [prefix.count("b") - prefix.count("c") for prefix in prefixes]
    return counts


def draw(name, num, **options):
    return list(make_strings(find_language(name), num, **options))


@given(NAMES, st.integers(0, 10**6), st.integers(5, 60))
@EXAMPLES
def test_strings_belong_to_their_language(name, seed, max_length):
    strings = draw(name, 8, seed=seed, max_length=max_length)
    assert len(strings) == 8
    for string in strings:
        assert recognises(name, string.text)
        assert 1 <= len(string.text) <= max_length


@given(NAMES, st.integers(0, 10**6))
@EXAMPLES
def test_what_may_follow_a_prefix_is_what_completions_begin_with(name, seed):
    """Changing the character after a prefix to one that may not follow gives no string of the
    language."""
    (string,) = draw(name, 1, seed=seed, max_length=24)
    assert len(string.nexts) == len(string.text)
    others = set("abc01=()")
    for index, following in enumerate(string.nexts):
        if following is None:
            assert name != "dyck"
            continue
        assert (string.text + END)[index + 1] in following
        prefix, rest = string.text[: index + 1], string.text[index + 2 :]
        assert (END in following) == recognises(name, prefix)
        for character in others - following:
            assert not recognises(name, prefix + character + rest)
    if name != "dyck":
        tested = [following is not None for following in string.nexts]
        assert tested == sorted(tested)
        assert tested[-1], "what is not determined comes before what is"


def test_all_dyck_words_of_a_length_are_equally_likely():
    # All lengths are equally likely, too: a fourth has 8 characters.
    texts = [string.text for string in draw("dyck", 20_000, max_length=8)]
    longest = Counter(text for text in texts if len(text) == 8)
    # 14 words: about 357 of each, with a standard deviation of 18.
    assert len(longest) == 14
    assert min(longest.values()) > 270
    assert max(longest.values()) < 450


def test_the_same_seed_gives_the_same_strings_on_every_machine():
    assert [string.text for string in draw("dyck", 3, seed=5, max_length=12)] == [
        "()(())()",
        "(())",
        "((()())())",
    ]
    more = [string.text for string in draw("copy", 9, seed=5)]
    assert [string.text for string in draw("copy", 4, seed=5)] == more[:4]
    assert [string.text for string in draw("copy", 9, seed=6)] != more
    assert min(len(string.text) for string in draw("copy", 99, max_length=5)) == 3


@given(NAMES, st.integers(0, 10**6), st.integers(0, 200), st.integers(0, 200))
@EXAMPLES
def test_detectors_compute_the_states_from_the_text_alone(name, seed, begin, end):
    strings = draw(name, 30, seed=seed, max_length=30)
    text = "".join(string.text + "\n" for string in strings)
    expected = [naive_states(name, string.text) for string in strings]
    applying = {one for one in FORMAL if DETECTORS[one].label(text) is not None}
    assert applying == expected[0].keys() == {*find_language(name).detectors}
    for detector in expected[0]:
        states = np.array([value for of_string in expected for value in (*of_string[detector], 0)])
        labels = DETECTORS[detector].label(text)
        assert labels is not None
        assert (labels == states).all()
        in_documents = DETECTORS[detector].labelling(text.replace("\n", END)).labels
        assert (labels == in_documents).all()
        # A text may be cut anywhere; what is known from the next line on does not change.
        cut = text[begin : len(text) - end]
        found, line_end = DETECTORS[detector].label(cut), cut.find("\n")
        if found is not None and line_end >= 0:
            assert (found[line_end:] == states[begin : len(text) - end][line_end:]).all()


def test_a_language_is_a_text_to_train_on_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = read_corpus(["dyck"])
    assert corpus.name == "dyck"
    lines = str(corpus.content).splitlines()
    assert len(lines) == 10_000
    assert all(recognises("dyck", line) for line in lines[:100])

    # What is there already is taken as it is.
    Path("corpora/hello.txt").write_text("a text of mine\n" * 3)
    assert read_corpus(["hello"]).text(0, 14) == "a text of mine"


def test_the_recipe_hello_learns_the_word(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    run = command("train", "--recipe", "hello", "--steps", 60, "--quiet").out.strip()
    written = command("sample", run, "--temp", 0, "--prime", "h", "--length", 14)
    assert written.out.rstrip("\n") == "hellohellohello"
    assert Path("corpora/hello.txt").read_text() == "hello" * 100

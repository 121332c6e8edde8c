"""Texts that match an expression: the automaton against Python's `re`, drawn texts and beams
against all texts."""

import itertools
import json
import re

import numpy as np
import pytest
from built_runs import build_chain
from hand_built import draw_texts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strong_networks import PRIME, make_stepper

import charrnn
from charrnn.generation.beam import BeamSearch
from charrnn.generation.distribution import log_softmax
from charrnn.generation.patterns import Pattern
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import SearchOptions
from charrnn.generation.sampling import random_numbers_of
from charrnn.generation.writing import Ending
from charrnn.text.documents import END

ALPHABET, LETTERS, T = ("", "a", "b", "é", "\n"), "abcd", 4


def all_texts(characters, length=T):
    return [
        "".join(text) for n in range(length + 1) for text in itertools.product(characters, repeat=n)
    ]


WRITTEN = all_texts(ALPHABET[1:], 3)
ATOM = st.sampled_from(
    ["a", "b", ".", r"\w", r"\W", "[^a]", r"[^\W\d]", "(?i:É)", "(?s:.)", "", "^", r"\Z", "b|", "é"]
)
PARTS = st.recursive(
    ATOM,
    lambda inner: st.tuples(
        inner, inner, st.sampled_from(["", "*", "+?", "{2}", "{0,2}"]), ATOM
    ).map(lambda parts: f"(?:{parts[0]}|{parts[1]}){parts[2]}{parts[3]}"),
    max_leaves=4,
)


def accepted(expression, characters, texts):
    """Return the texts after which nothing is missing; check how much is missing after their
    beginnings."""
    pattern = Pattern(expression, characters, None)
    states = {"": pattern.start}
    for text in texts[1:]:
        id = characters.index(text[-1])
        states[text] = pattern.follow(states[text[:-1]], id)
        assert pattern.missing_after(states[text[:-1]])[id] == states[text].missing
    found = [text for text in texts if states[text].missing == 0]
    for text in texts[:20]:
        rest = [len(one) - len(text) for one in found if one.startswith(text)]
        missing = states[text].missing
        assert missing == min(rest, default=missing)
        assert rest or missing > len(texts[-1]) - len(text)
    return found


@settings(max_examples=30)
@given(PARTS)
@example(r"((?a:\w)*(?a:a(?u:\w)))?$")
@example("(?x) (?:a*)* a # no")
@example("(a|b)*a(a|b){30}|b")
def test_an_automaton_takes_the_texts_that_python_matches(expression):
    try:
        found = accepted(expression, ALPHABET, WRITTEN)
    except re.error as error:
        assert r"\Z" in expression
        assert "inner ^ or $" in str(error)
    else:
        assert found == [text for text in WRITTEN if re.fullmatch(expression, text)]


@pytest.mark.parametrize("expression", ["(ab|c)*", "a?b?c?d", "[^a]+a", "d|", "(?s:.*)ab(?s:.*)"])
def test_characters_are_drawn_in_proportion_and_beams_find_all_texts(expression):
    pattern, stepper = Pattern(expression, LETTERS, None), make_stepper("lstm", 0)
    matching = {text for text in all_texts(LETTERS) if re.fullmatch(expression, text)}
    for seed, shaping in enumerate([{}, {"top_k": 2}, {"temperature": 0.01}]):
        uniforms, text = random_numbers_of(seed), ""
        while any(one != text and one.startswith(text) for one in matching):
            own = log_softmax(stepper.read(np.array([*PRIME, *map(LETTERS.index, text)]))[0])[
                0
            ] / shaping.get("temperature", 1.0)
            begins = [any(one.startswith(text + letter) for one in matching) for letter in LETTERS]
            scores = np.where(begins, own, -np.inf)
            scores[np.argsort(-scores)[shaping.get("top_k", T) :]] = -np.inf
            probs = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            text += LETTERS[int((np.cumsum(probs) <= uniforms.random()).sum())]
        rules = Rules.of(np.zeros(T, np.bool_), pattern=pattern)
        [found] = draw_texts(stepper, PRIME, [seed], length=T, rules=rules, **shaping)
        assert "".join(LETTERS[id] for id in found.ids) == text
    search = BeamSearch(
        stepper=stepper,
        prime=PRIME,
        options=SearchOptions(width=256, length=T),
        ending=Ending(length=T, rules=Rules.of(np.zeros(T, np.bool_), pattern=pattern)),
    )
    ended = {
        text
        for text in matching
        if not any(one != text and one.startswith(text) for one in matching)
    }
    assert {"".join(LETTERS[id] for id in beam.ids) for beam in search.run()} == ended


def test_a_banned_end_is_not_needed(tmp_path):
    run = build_chain(tmp_path / "spaced-001", f"{END}abcdefgh ", documents="lines")
    found = charrnn.load(run).sample(match="(ab)*", length=5, ban=END)
    assert (found.text, found.has_ended) == ("abab", False)


def test_documents_end_where_they_match_with_any_options(command, tmp_path):
    run, expression = (
        build_chain(tmp_path / "lines-001", f"{END}abcde", documents="lines"),
        "[^c]{2,3}(cd)?",
    )
    for options in ("--count 3 --temp 3 --seed 1", "--temp 0,2 --prime cd", "--beam 5"):
        ran = command(f"sample --length 7 --json {options} --match", expression, run)
        assert ran.code == 0
        for one in map(json.loads, ran.out.splitlines()):
            for text in one.get("beams", [one]):
                assert re.fullmatch(expression, text["text"])
                assert text["has_ended"]

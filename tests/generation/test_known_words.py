"""Words that exist: what may follow a text, against all words; alone and with a pattern; drawn in
NumPy, by the compiled loop, and by beams."""

import itertools
import re
import sys

import numpy as np
import pytest
from hand_built import DrawnIds, draw_texts, hand_built_stepper, mask_of
from hypothesis import given
from hypothesis import strategies as st

from charrnn.generation import rules as rules_module
from charrnn.generation import sampling
from charrnn.generation.beam import BeamSearch
from charrnn.generation.known_words import WordTable
from charrnn.generation.patterns import NEVER, Pattern
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import SampleOptions, SearchOptions
from charrnn.generation.writing import Ending
from charrnn.text.copies import read_known_passages
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import KindTable, WordList, words_in

ALPHABET = "\n '-.ABab"
VOCAB = Vocab("char", ("", *ALPHABET))
NOT_DRAWN = mask_of([0], len(VOCAB))
WORDS = ["a", "ab", "b-a", "a'b", "BAB", "bb-b-a"]


def table_of(*words, banned=()):
    return WordTable.of(WordList.of(words, VOCAB), VOCAB, banned=banned)


def rules_of(*words, expression=None, forbid=None, banned=()):
    pattern = None
    if expression is not None:
        pattern = Pattern(expression, tuple(VOCAB.characters), None)
    is_banned = NOT_DRAWN | mask_of(banned, len(VOCAB))
    words = table_of(*words, banned=banned) if words else None
    return Rules.of(is_banned, words=words, pattern=pattern, forbid=forbid)


KINDS = KindTable()
"""The kinds of all characters of these tests, which are found once."""


def are_known(text, forms):
    """Whether all words of a text are forms of the list."""
    return {*words_in(text, KINDS)} <= forms


def may_follow(text, character, forms):
    """Whether some text that begins with a text and this character has known words alone."""
    begun = text + character
    # Each end once: many forms end alike.
    ends = {"", "\n"} | {f"{form[size:]}\n" for form in forms for size in range(len(form))}
    return any(are_known(begun + end, forms) for end in ends)


def texts_up_to(length):
    for size in range(length + 1):
        yield from map("".join, itertools.product("-'.Aab", repeat=size))


@pytest.mark.parametrize(
    "words",
    [
        WORDS,
        pytest.param(["ab"], marks=pytest.mark.slow),
        pytest.param(["b-b", "b"], marks=pytest.mark.slow),
        [],
    ],
)
def test_a_character_may_follow_where_known_words_can_go_on(words):
    table = table_of(*words) if words else WordTable.of(WordList.of([], VOCAB), VOCAB)
    forms = WordList.of(words, VOCAB).all_forms
    possible = {""}
    for text in texts_up_to(3):
        if text not in possible:
            # The text has a word that is not known, or begins with such a text.
            continue
        following = {character for character in ALPHABET if may_follow(text, character, forms)}
        possible.update(text + character for character in following)
        allowed = table.allowed(table.state_after(VOCAB.encode(text).tolist()))
        found = {character for character in ALPHABET if allowed[VOCAB.encode(character)[0]]}
        assert found == following, text


def test_behind_a_word_that_is_not_known_no_letter_follows():
    table = table_of("ab", "abb-a")
    for text in ("ba", "a ba", "aab", "abab", "ba-", "ab-"):
        allowed = table.allowed(table.state_after(VOCAB.encode(text).tolist()))
        assert {VOCAB.characters[id] for id in np.flatnonzero(allowed) if id} == {*"\n '-."}, text


def test_words_with_a_banned_character_are_none():
    [b] = VOCAB.encode("b").tolist()
    table = table_of("a", "ab", "aB", banned=[b])
    allowed = table.allowed(table.state_after(VOCAB.encode("a").tolist()))
    assert not allowed[b] and allowed[VOCAB.encode("B")[0]]


def test_a_state_has_the_same_next_states_in_an_array():
    table = table_of(*WORDS)
    for text in texts_up_to(3):
        state = table.state_after(VOCAB.encode(text).tolist())
        after = table.next_states(state)
        for id in np.flatnonzero(table.allowed(state)).tolist():
            assert after[id] == table.follow(state, id)


EXPRESSIONS = [r"[ab]{2,3}\.", "(a|b-|[AB'.])*", "(?s:.)*ab-?", "(b|a){1,2} (A|B)+", "-*b*"]


def least_missing(text, expression, forms, most):
    """How many characters are missing from a text to a match of known words, up to a number."""
    for size in range(most + 1):
        for end in map("".join, itertools.product(ALPHABET, repeat=size)):
            if re.fullmatch(expression, text + end) and are_known(text + end, forms):
                return size
    return NEVER


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_as_many_characters_are_missing_as_in_the_shortest_match_of_known_words(expression):
    words = ["ab", "b-a", "BA"]
    forms = WordList.of(words, VOCAB).all_forms
    rules = rules_of(*words, expression=expression)
    for text in ("", "a", "ab", "b-", "A", "ab ", "ab-"):
        state = rules.start()
        for id in VOCAB.encode(text).tolist():
            state = rules.follow(state, id)
        if not may_follow(text[:-1], text[-1:], forms):
            continue
        found = int(rules.missing[rules.table.numbers[state.pattern], state.word])
        expected = least_missing(text, expression, forms, most=4)
        assert found == expected or (expected == NEVER and found > 4), (text, found)


def all_drawn(rules, *, prime="", length=12, num_texts=30, **options):
    """Draw texts, and return them with what ended each."""
    stepper = STEPPER
    ids = VOCAB.encode(prime).tolist()
    read = sampling.prime_model(stepper, np.array([1, *ids]))
    texts = [DrawnIds(seed, length) for seed in range(num_texts)]
    options = SampleOptions(length=length, **({"temperature": 2.0} | options))
    rows = sampling.Rows(
        read,
        texts=texts,
        ending=Ending(length=length, rules=rules, prime=ids),
        options=options,
        num_chars=length * num_texts,
        num_rows=7,
    )
    assert list(rows.written_texts()) == texts
    return [(VOCAB.decode(text.ids), text.dead_end) for text in texts]


STEPPER = hand_built_stepper("lstm", vocab_size=len(VOCAB))
PASSAGES = read_known_passages(["abab a ab. ab ab"], 3, vocab=VOCAB, end_id=None)
CASES = {
    "words": {"words": WORDS},
    "words and a prime": {"words": WORDS, "prime": "a b"},
    "an unknown word": {"words": WORDS, "prime": "a aaa"},
    "pattern": {"words": (), "expression": r"([ab]+[ .-]){2,4}"},
    "words and pattern": {"words": WORDS, "expression": r"([ab]+[ .-]){2,4}"},
    "copies": {"words": (), "forbid": PASSAGES},
    "words and copies": {"words": WORDS, "forbid": PASSAGES, "prime": "ab. ab"},
    "all": {"words": WORDS, "forbid": PASSAGES, "expression": "[^.]*b[^.]*"},
    "dead ends": {"words": ["ab"], "banned": VOCAB.encode("\n '-.").tolist()},
}


def case_of(name):
    case = {**CASES[name]}
    prime = case.pop("prime", "")
    return rules_of(*case.pop("words"), **case), prime


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"top_k": 2}, marks=pytest.mark.slow),
        pytest.param({"top_p": 0.5}, marks=pytest.mark.slow),
        pytest.param({"temperature": 0}, marks=pytest.mark.slow),
    ],
)
def test_the_compiled_loop_follows_the_rules_as_numpy_does(name, options, monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed")
    rules, prime = case_of(name)
    monkeypatch.setattr(sampling, "COMPILED_FROM", sys.maxsize)
    expected = all_drawn(rules, prime=prime, **options)
    monkeypatch.setattr(sampling, "COMPILED_FROM", 0)
    monkeypatch.setattr(sampling, "UNCACHED_FROM", 0)
    assert all_drawn(rules, prime=prime, **options) == expected
    if options.get("temperature") != 0 and name != "dead ends":
        assert len({text for text, _ in expected}) > 1, "texts that could differ"


def test_every_drawn_word_is_known_and_words_differ():
    rules, _ = case_of("words")
    texts = [text for text, _ in all_drawn(rules, length=60)]
    forms = WordList.of(WORDS, VOCAB).all_forms
    found = [word for text in texts for word in words_in(text)[:-1]]
    assert {*found} <= forms and len({*found}) > 4


def test_the_first_letters_of_a_text_end_the_last_word_of_its_prime():
    rules, prime = case_of("words and a prime")
    for text, _ in all_drawn(rules, prime=prime):
        assert words_in(f"{prime}{text}")[1] in {"b", "b-a", "bb-b-a", "bab"}, text


def test_texts_match_and_have_known_words():
    rules, _ = case_of("words and pattern")
    forms = WordList.of(WORDS, VOCAB).all_forms
    for text, dead_end in all_drawn(rules):
        assert re.fullmatch(r"([ab]+[ .-]){2,4}", text) and are_known(text, forms)
        assert dead_end == ()


def test_a_text_ends_where_no_character_may_follow():
    rules, _ = case_of("dead ends")
    for text, dead_end in all_drawn(rules):
        assert text in ("ab", "Ab") and dead_end == ("known_words",)


def test_patterns_of_many_states_are_followed_without_a_table(monkeypatch):
    expected = all_drawn(case_of("pattern")[0])
    monkeypatch.setattr(rules_module, "MAX_STATES", 2)
    rules, _ = case_of("pattern")
    assert rules.table is None and not rules.can_compile
    assert all_drawn(rules) == expected


def test_with_too_many_states_together_a_text_may_run_into_a_dead_end(monkeypatch):
    monkeypatch.setattr(rules_module, "MAX_PAIRS", 2)
    rules = rules_of("a", "ab", expression=r"abb|a\.")
    found = {*all_drawn(rules)}
    assert found == {("ab", ("known_words", "match")), ("a.", ())}


@given(st.sampled_from(WORDS), st.sampled_from(EXPRESSIONS))
def test_beams_have_known_words(word, expression):
    rules = rules_of(word, "a", expression=expression)
    if rules.missing[0, 0] > 4:
        return
    options = SearchOptions(width=64, length=4)
    ending = Ending(length=4, rules=rules)
    search = BeamSearch(stepper=STEPPER, prime=np.array([1]), options=options, ending=ending)
    found = [VOCAB.decode(beam.ids) for beam in search.run()]
    forms = WordList.of([word, "a"], VOCAB).all_forms
    assert found and all(re.fullmatch(expression, text) for text in found)
    assert all(are_known(text, forms) for text in found)


@pytest.mark.parametrize("stop, expected", [("b", {"", "b "}), ("-", {""})])
def test_a_stop_string_ends_a_beam_only_behind_a_whole_word(stop, expected):
    rules = rules_of("ab", "a-b", banned=VOCAB.encode("\n '.").tolist())
    stops = [tuple(VOCAB.encode(stop).tolist())]
    options = SearchOptions(width=64, length=3)
    ending = Ending(length=3, rules=rules, stops=stops)
    search = BeamSearch(stepper=STEPPER, prime=np.array([1]), options=options, ending=ending)
    for beam in search.run():
        text = VOCAB.decode(beam.ids)
        if len(text) < 3:
            assert text.endswith(stop) and rules.ends_word(list(beam.ids[:-1]))


def test_rules_of_their_own_are_asked_for_each_text():
    asked = []

    def forbid(ids):
        asked.append(tuple(ids))
        return mask_of([ids[-1]] if ids else [], len(VOCAB))

    rules = rules_of(*WORDS, forbid=forbid)
    texts = [text for text, _ in all_drawn(rules, num_texts=3, length=9)]
    assert not [text for text in texts if re.search(r"(.)\1", text)]
    assert tuple(VOCAB.encode(texts[0][:-1])) in asked


def test_without_rules_texts_are_drawn_as_before():
    found = draw_texts(STEPPER, [1], [5], length=20, rules=Rules.of(NOT_DRAWN))
    assert found[0].ids == draw_texts(STEPPER, [1], [5], length=20, banned=[0])[0].ids

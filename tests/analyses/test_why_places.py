"""Why a character comes next at many places: its quotation mark is found, and nothing by chance.

Tests `analyses.why.many_places` and `charrnn visualize --why`.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL_RUN, as_json
from displayed import WHY_PLACES
from effects_networks import make_config, make_network, tensors_of

import charrnn
from charrnn.analyses.why import many_places
from charrnn.analyses.why.leaving_out import NetworkReader
from charrnn.analyses.why.many_places import find_places, read_places, why_places
from charrnn.errors import DataError, UsageError
from charrnn.text.vocab import Vocab

CHARACTERS = ("", "\0", '"', "a", "b", "\n")
ANNA = CHARACTERS.index("a")


@pytest.fixture
def few_characters(monkeypatch):
    monkeypatch.setattr(many_places, "NUM_LEFT_OUT", 24)


def build_model(*, seed=0, scale=0.5, **changes):
    config = make_config("lstm", num_layers=1, seed=seed, **changes)
    if scale is None:
        network = charrnn.Model(
            config, Vocab("char", CHARACTERS), tensors_of(make_network("lstm", num_layers=1))
        )
        return charrnn.Model(
            config, Vocab("char", CHARACTERS), arrays_of(network.untrained_baseline())
        )
    network = make_network("lstm", num_layers=1, scale=scale, **changes)
    return charrnn.Model(config, Vocab("char", CHARACTERS), arrays_of(network), name="tiny")


def arrays_of(network):
    return {name: np.asarray(value, np.float32) for name, value in tensors_of(network).items()}


def draw_text(num_chars=1_500, seed=0):
    return "".join(np.random.default_rng(seed).choice([*'ab"\n'], num_chars))


def test_each_place_is_read_as_model_why_reads_it(few_characters):
    model = build_model()
    ids = model.encode(draw_text()).ids
    positions = np.array([100, 333, 500])
    places = read_places(model, NetworkReader(model.network), ids, positions=positions, target=ANNA)
    for place in places:
        before = model.vocab.decode(ids[place.position - 24 : place.position])
        why = model.why(before, "a")
        np.testing.assert_allclose(place.effects, why.effects, rtol=1e-3, atol=1e-4)
        assert place.probability == pytest.approx(why.probability, rel=1e-4)
        assert place.entries[0] == np.abs(why.terms[0, 0]).argmax()


def test_only_the_last_characters_of_some_kinds_are_left_out_if_nothing_else_is_asked(
    few_characters,
):
    model = build_model()
    ids = model.encode(draw_text()).ids
    asked = {"positions": np.array([100, 333]), "target": ANNA}
    reader = NetworkReader(model.network)
    every = read_places(model, reader, ids, **asked)
    kinds = [(ANNA, ""), (2, "opens"), (99, "")]
    some = read_places(model, reader, ids, only=kinds, **asked)
    for place, of_every in zip(some, every, strict=True):
        indices = {place.nearest(kind) for kind in kinds} - {None}
        assert {*np.flatnonzero(np.isfinite(place.effects)).tolist()} == indices
        for index in indices:
            assert place.effects[index] == pytest.approx(of_every.effects[index], abs=1e-5)
    nothing = read_places(model, reader, ids, only=[(99, "")], **asked)
    assert nothing[0].probability == pytest.approx(every[0].probability)


def test_a_document_is_read_from_its_beginning(few_characters):
    model = build_model(documents="lines")
    ids = model.encode("bba\0aabbab\0b").ids
    [place] = read_places(
        model, NetworkReader(model.network), ids, positions=np.array([10]), target=ANNA
    )
    why = model.why("aabba", "a")
    assert model.vocab.decode(place.ids) == "aabba"
    np.testing.assert_allclose(place.effects, why.effects, rtol=1e-3, atol=1e-4)


def test_places_have_enough_characters_before_them(few_characters):
    ids = np.array([3] * 40 + [2, 3])
    assert find_places(ids, first=0, target=3, end_id=None).tolist() == [*range(24, 40), 41]
    assert find_places(ids, first=30, target=3, end_id=None)[0] == 30
    documents = np.array([1, 3, 3, 3, 3, 3, 3, 1, 3, 3])
    assert find_places(documents, first=0, target=3, end_id=1).tolist() == [6]


def test_a_sign_opens_or_closes_by_the_number_before_it_in_its_paragraph(few_characters):
    model = build_model()
    text = 'ab"ab"ab"a\n\nb"abab"abab"ab'
    ids = model.encode(text).ids
    [place] = read_places(
        model, NetworkReader(model.network), ids, positions=np.array([24]), target=2
    )
    roles = [role for id, role in place.kinds if id == 2]
    assert roles == ["opens", "closes", "opens", "opens", "closes", "opens"]
    assert place.role == "closes"


def test_the_mark_that_opens_a_quotation_is_found_and_its_unit_carries_it(tmp_path):
    from built_runs import build_chain_and_quoting

    build_chain_and_quoting(tmp_path)
    model = charrnn.load(tmp_path / "checkpoints" / "quoting")
    text = (tmp_path / "quotes.txt").read_text(encoding="utf-8")
    found = model.why_places(text, "x", num_places=20)
    row = found.rows[0]
    assert row.character == "“"
    assert row.is_above_chance
    assert row.carriers[0].name == "0:5"
    assert row.carriers[0].num_most == row.carriers[0].num_places
    assert len(found.examples) == 3
    assert [example.distance for example in found.examples] == sorted(
        example.distance for example in found.examples
    )


@pytest.mark.slow
def test_in_an_untrained_network_no_character_is_above_chance(few_characters):
    text = draw_text()
    seeds_above = []
    for seed in range(20):
        model = build_model(seed=seed, scale=None)
        found = model.why_places(text, "a", num_places=20)
        if any(row.is_above_chance for row in found.rows):
            seeds_above.append(seed)
    assert len(seeds_above) <= 1


def test_a_result_is_kept_under_all_that_it_depends_on(few_characters, monkeypatch):
    model = build_model()
    ids = model.encode(draw_text()).ids
    asked = {"first": 0, "character": "a", "num_places": 10}
    found = why_places(model, ids, **asked)
    measured = []
    monkeypatch.setattr(
        many_places, "_measure", lambda *args, **options: measured.append(args) or found
    )
    assert why_places(model, ids, **asked) == found
    assert measured == []

    other_text = model.encode(draw_text(seed=1)).ids
    why_places(model, other_text, **asked)
    changes = ({"character": "b"}, {"num_places": 11}, {"seed": 1}, {"part": "test"})
    for change in changes:
        why_places(model, ids, **(asked | change))
    monkeypatch.setattr(many_places, "VERSION", 0)
    why_places(model, ids, **asked)
    assert len(measured) == len(changes) + 2


def test_every_place_with_an_effect_has_an_entry_that_carries_most_of_it(few_characters):
    found = build_model().why_places(draw_text(), "a", num_places=30)
    num_places = found.num_places - found.num_without
    assert num_places > 10
    assert sum(carrier.num_most for carrier in found.carriers) == num_places
    assert {carrier.num_places for carrier in found.carriers} == {num_places}
    counts = [carrier.num_most for carrier in found.carriers]
    assert counts == sorted(counts, reverse=True)
    assert (found.layers, found.are_units) == ((0,), True)


def test_too_few_places_are_refused_with_their_number():
    with pytest.raises(DataError, match=r"'a' comes next at 0 places"):
        build_model().why_places("ab" * 50, "a")
    with pytest.raises(UsageError, match="another character at every place"):
        build_model().why_places("ab" * 500, "next")


def test_the_command_shows_a_table_and_three_places_and_exports_the_chart(
    few_characters, lab, corpus_file, command
):
    line = f"visualize lstm-001 --text {corpus_file} --why )"
    out = command(f"{line} --top 2").out
    assert "Why ')' comes next, by lstm-001: at 100 of" in " ".join(out.split())
    assert "carried by" in out
    for suffix in ("svg", "png", "pdf", "html", "csv"):
        ran = command(f"{line} --export why.{suffix}")
        assert (ran.code, ran.out) == (0, f"why.{suffix}\n")
    assert "mean effect" in Path("why.svg").read_text(encoding="utf-8")


def test_a_character_that_the_model_lacks_is_read_as_a_similar_one_as_in_the_text(
    few_characters, lab, corpus_file, command
):
    line = f"visualize lstm-001 --text {corpus_file} --json --why"
    ran = command(line, "é")
    assert "lstm-001 does not know 'é': 'e' stands for it" in ran.err
    assert json.loads(ran.out) == as_json(command(line, "e"))
    ran = command(line, "語")
    assert ran.code == 3 and "no single character is similar" in ran.err


def test_programs_get_every_row_of_the_text_that_is_named(
    few_characters, lab, corpus_file, command
):
    line = f"visualize lstm-001 --text {corpus_file} --why )"
    found = as_json(command(f"{line} --json"))
    model = charrnn.load("lstm-001")
    same = model.why_places(corpus_file, ")")
    assert found == json.loads(json.dumps({"run": "lstm-001"} | same.to_json()))
    assert found["rows"][0]["character"] == "("
    assert found["num_available"] == corpus_file.read_text("utf-8")[24:].count(")")
    command(f"{line} --export why.csv")
    # A character may be a newline.
    with Path("why.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["character"] for row in rows] == [row["character"] for row in found["rows"]]


def test_the_view_says_what_it_counts_and_what_opens_and_closes():
    shown = WHY_PLACES._repr_mimebundle_()["text/plain"]
    assert "At 1 place there are only many small reasons" in shown
    assert "opens or closes there" in shown
    rows = tuple(replace(row, here="", role="") for row in WHY_PLACES.rows)
    plain = replace(WHY_PLACES, rows=rows)._repr_mimebundle_()["text/plain"]
    assert "opens or closes there" not in plain


def test_an_entry_is_listed_that_carries_most_at_three_places_or_more():
    for num_most, is_listed in ((2, False), (3, True)):
        [carrier] = WHY_PLACES.rows[0].carriers
        carriers = (replace(carrier, num_most=num_most),)
        rows = (replace(WHY_PLACES.rows[0], carriers=carriers),)
        shown = replace(WHY_PLACES, rows=rows)._repr_mimebundle_()["text/plain"]
        assert ("carried by" in shown) == is_listed


def test_top_limits_the_rows_of_the_table(few_characters, lab, corpus_file, command):
    line = f"visualize lstm-001 --text {corpus_file} --why ,"
    labels = [row.label for row in charrnn.load("lstm-001").why_places(corpus_file, ",").rows]
    assert len(labels) > 2
    for num_rows in (0, 1, 2):
        out = command(f"{line} --top {num_rows}").out
        assert out.count("…") == num_rows
        assert "No earlier character" not in out
    ran = command(f"{line} --top 2 --json")
    assert (ran.code, ran.out) == (2, "")
    assert "all rows of the table" in ran.err


def test_the_part_of_the_text_is_the_one_that_is_named(
    few_characters, corpus_file, command, tmp_path
):
    config = charrnn.Config(
        corpus=(str(corpus_file),), **SMALL_RUN, steps=1, split=(80.0, 10.0, 10.0)
    )
    run = tmp_path / "checkpoints" / "parts"
    run.parent.mkdir()
    for _ in charrnn.train(config, out=run):
        pass
    model = charrnn.load(run)
    for part in ("validation", "test"):
        found = as_json(command(f"visualize parts --why e --part {part} --json"))
        assert found["num_available"] == model.held_out(part)[:].count("e")

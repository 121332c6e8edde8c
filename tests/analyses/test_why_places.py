"""Why a character comes next at many places: its quotation mark is found, and nothing by chance.

Tests `analyses.why.many_places` and `charrnn visualize --why`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import as_json
from effects_networks import make_config, make_network, tensors_of

import charrnn
from charrnn.analyses.why import many_places
from charrnn.analyses.why.leaving_out import NetworkReader
from charrnn.analyses.why.many_places import find_places, read_places
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


def test_in_an_untrained_network_no_character_is_above_chance(few_characters):
    text = draw_text()
    seeds_above = []
    for seed in range(20):
        model = build_model(seed=seed, scale=None)
        found = model.why_places(text, "a", num_places=20)
        if any(row.is_above_chance for row in found.rows):
            seeds_above.append(seed)
    assert len(seeds_above) <= 1


def test_too_few_places_are_refused_with_their_number():
    with pytest.raises(DataError, match=r"'a' comes next at 0 places"):
        build_model().why_places("ab" * 50, "a")
    with pytest.raises(UsageError, match="another character at every place"):
        build_model().why_places("ab" * 500, "next")


def test_the_command_shows_a_table_and_three_places_and_exports_the_chart(
    lab, corpus_file, command
):
    line = f"visualize lstm-001 --text {corpus_file} --why )"
    out = command(f"{line} --top 2").out
    assert "Why ')' comes next, by lstm-001: at 100 of" in " ".join(out.split())
    assert "carried by" in out
    for suffix in ("svg", "png", "pdf", "html", "csv"):
        ran = command(f"{line} --export why.{suffix}")
        assert (ran.code, ran.out) == (0, f"why.{suffix}\n")
    assert "mean effect" in Path("why.svg").read_text(encoding="utf-8")
    found = as_json(command(f"{line} --json"))
    assert found["run"] == "lstm-001"
    assert found["rows"][0]["character"] == "("
    assert json.dumps(found)

"""`--init-from` starts a run with an old one's weights and alphabet, adds rows and changes none."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_built import vocab_of
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from synthetic import make_corpus

import charrnn
from charrnn.config.settings_file import from_yaml
from charrnn.errors import DataError
from charrnn.model.network import CharRNN
from charrnn.model.shapes import LESS_LIKELY, extend_rows, weight_shapes
from charrnn.text.vocab import MAX_CHARACTERS, MAX_VOCAB_SIZE, UNKNOWN, Vocab
from charrnn.training.initial_model import open_initial_model, with_model_of
from charrnn.training.loop import resume

WORDS = st.text(st.characters(min_codepoint=1, exclude_categories=("Cs",)), min_size=1, max_size=60)
NEW_TEXT = make_corpus(num_chars=6_000, seed=5).text.replace("a", "я")

ROWS = ("embedding.weight", "output.weight", "output.bias")
"""Tensors with a row per character."""


@pytest.fixture
def lab(tmp_path, monkeypatch, lstm):
    """A folder with a new text, and the shared run under checkpoints/."""
    monkeypatch.chdir(tmp_path)
    Path("checkpoints").mkdir()
    Path("checkpoints/old").symlink_to(lstm.path.resolve())
    Path("new.txt").write_text(NEW_TEXT, encoding="utf-8")
    return tmp_path


def test_it_starts_with_the_best_weights_and_goes_on_learning(command, lab, lstm):
    line = ("train", "new.txt", "--init-from", "old", "--set", "extend_alphabet=false")
    ran = command(*line, "--steps", 30, "--set", "keep=9", "--json")
    assert ran.code == 0, ran.err
    events = [json.loads(line) for line in ran.out.splitlines()]
    run = Path(events[-1]["run"])
    before = charrnn.load("old").tensors
    after = charrnn.load(f"{run}@0").tensors
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert (run / "vocab.json").read_bytes() == (lstm.path / "vocab.json").read_bytes()
    config = from_yaml((run / "config.yaml").read_text(), "config.yaml")
    theirs = from_yaml((lstm.path / "config.yaml").read_text(), "config.yaml")
    assert (config.hidden_size, config.cell_type) == (theirs.hidden_size, theirs.cell_type)
    assert (config.corpus, config.init_from) == (("new.txt",), "old")
    notes = events[0]["notes"]
    assert len(notes) == 1 and "read as unknown: not in the alphabet of old" in notes[0], "я is new"
    losses = [event["train_nats"] for event in events if event["event"] == "step"]
    assert losses[0] < 0.8 * np.log(len(charrnn.load(run).vocab)), (
        "the first step already knows much"
    )
    Path("checkpoints/old").unlink()
    *_, done = resume(run, {"steps": 31})
    assert (done.event, done.step) == ("done", 31), "it needs the old run no more"


@pytest.mark.parametrize(
    "theirs, asked, expected",
    [
        ({"documents": "lines"}, {}, {"documents": "lines"}),
        ({"column": "smiles"}, {}, {"documents": "column", "column": "smiles"}),
        ({"column": "smiles"}, {"documents": "lines"}, {"documents": "lines", "column": None}),
        ({"documents": "lines"}, {"column": "text"}, {"documents": "column", "column": "text"}),
        ({"encoding": "latin-1"}, {}, {"encoding": "latin-1"}),
        ({"encoding": "latin-1"}, {"encoding": "utf8"}, {"encoding": "utf8"}),
        ({"encoding": "latin-1"}, {"corpus": ("prideprejudice",)}, {"encoding": "latin-1"}),
        ({"encoding": "latin-1"}, {"corpus": ("shakespeare",)}, {"encoding": "utf-8"}),
        ({"order": "sorted", "order_seed": 3}, {}, {"order": "sorted", "order_seed": 3}),
        ({"order_seed": 3}, {"order_seed": 4}, {"order": "shuffled", "order_seed": 4}),
    ],
)
def test_a_text_is_read_as_that_of_the_old_run_unless_it_is_said_how(theirs, asked, expected):
    config = with_model_of("old", charrnn.Config(**theirs), charrnn.Config(**asked))
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.trained
def test_a_model_of_one_text_learns_to_end_documents(command, lab):
    Path("names.txt").write_text("anna\nbela\nlami\n" * 40, encoding="utf-8")
    line = "train names.txt --init-from old --documents lines"
    ran = command(line, "--steps", 60, "--set", "learning_rate=0.02", "--out", "names")
    assert ran.code == 0, ran.err
    assert "1 new character added to the alphabet of old: END" in ran.err
    drawn = charrnn.load("names").samples(count=9, length=40, seed=0)
    assert sum(len(text.text) < 20 for text in drawn) > 4, "most of them end"


def extend(vocab, text):
    return vocab.extended(np.bincount([*map(ord, text)]), min_count=3)


@given(WORDS, WORDS)
@settings(max_examples=40)
def test_old_characters_keep_their_ids_and_new_ones_follow_by_code_point(old_text, new_text):
    old = vocab_of(old_text)
    new = extend(old, new_text)
    assert new.characters[: len(old)] == old.characters
    assert list(new.characters[len(old) :]) == sorted({*new_text} - {*old_text})
    assert np.array_equal(new.encode(old_text), old.encode(old_text))
    assert 0 not in new.encode(new_text) and new.decode(new.encode(new_text).tolist()) == new_text
    assert extend(new, new_text) == new


def test_the_end_of_documents_is_added_where_the_configuration_looks_for_it():
    documents = charrnn.Config(documents="lines")
    for known in ("lamp", "lamp\0"):
        vocab = extend(vocab_of(known), "lit\0")
        assert vocab.characters == (UNKNOWN, "\0", *"almp", *"it")
        assert vocab.characters[documents.end_id] == "\0"
    exact = extend(Vocab("char", tuple("almp")), "lit\0")
    assert exact.characters == ("\0", *"almp", *"it")
    assert exact.characters[replace(documents, alphabet="exact").end_id] == "\0"


def test_a_new_character_begins_as_the_known_one_that_is_nearest_to_it():
    old = vocab_of('\n e-"')
    new = extend(old, "“—éя\0")
    assert new.characters == (UNKNOWN, "\0", *'\n "-e', *"éя—“")
    rows = dict(zip(new.characters, new.rows_in(old).tolist(), strict=True))
    assert [rows[character] for character in old.characters] == [*range(len(old))]
    known = {character: id for id, character in enumerate(old.characters)}
    for character, other in {"“": '"', "—": "-", "é": "e"}.items():
        assert rows[character] == known[other]
    assert rows["я"] == rows["\0"] == -1


def test_an_alphabet_has_a_limit():
    nearly_full = Vocab("char", (UNKNOWN, *map(chr, range(0x10000, 0x10000 + MAX_CHARACTERS - 3))))
    assert extend(nearly_full, "abbcc").characters[-2:] == ("b", "c"), "the most frequent"
    full = extend(nearly_full, "bc")
    assert extend(full, "ab\0").characters == (UNKNOWN, "\0", *full.characters[1:])

    # Every character of an exact alphabet must be in it.
    full = Vocab("char", tuple(map(chr, range(0x10000, 0x10000 + MAX_VOCAB_SIZE - 1))))
    assert len(extend(full, "a")) == MAX_VOCAB_SIZE
    with pytest.raises(
        DataError, match=r"^2 new characters and the 65,534 of .* more than 65,535: "
    ) as caught:
        extend(full, "ab")
    assert "give a larger `min_count` than 3" in str(caught.value)


def weights_of(config, vocab_size):
    tensors = CharRNN(config, vocab_size).state_dict()
    return {name: value.numpy() for name, value in tensors.items()}


def test_rows_are_those_of_the_model_or_of_a_new_network():
    config = charrnn.Config(cell_type="gru", num_layers=2, hidden_size=4, embedding_size=3)
    old = weights_of(replace(config, seed=0), 5)
    drawn = weights_of(replace(config, seed=1), 7)
    extended = extend_rows(old, drawn, np.array([0, 1, 2, 3, 4, -1, 2]))
    assert {name: value.shape for name, value in extended.items()} == weight_shapes(config, 7)
    for name, values in extended.items():
        assert values.dtype == np.float32
        assert np.array_equal(values[:5] if name in ROWS else values, old[name])
        if name in ROWS:
            similar = old[name][2]
            if name == "output.bias":
                similar = similar - LESS_LIKELY
            assert np.array_equal(values[5:], [drawn[name][5], similar])


def test_the_first_checkpoint_has_all_old_weights_bit_for_bit(command, lab, lstm):
    Path("new.txt").write_text(NEW_TEXT.replace("e", "é"), encoding="utf-8")
    options = ("--init-from", "old", "--set", "keep=9")
    ran = command("train new.txt", *options, "--steps", 4, "--out", "new", "--json")
    assert ran.code == 0, ran.err
    start, *_ = map(json.loads, ran.out.splitlines())
    assert start["notes"] == ["2 new characters added to the alphabet of old: 'é', 'я'"]
    old_characters = json.loads((lstm.path / "vocab.json").read_text())["characters"]
    characters = json.loads(Path("new/vocab.json").read_text())["characters"]
    num_old = len(old_characters)
    assert characters == [*old_characters, "é", "я"] and start["vocab_size"] == num_old + 2
    before = load_file(lstm.path / (lstm.path / "best").read_text().strip() / "model.safetensors")
    after = load_file("new/step-00000000/model.safetensors")
    trained = load_file("new/step-00000000/training.safetensors")
    for name, values in before.items():
        for saved in (after[name], trained[f"weights/{name}"]):
            assert np.array_equal(saved[:num_old] if name in ROWS else saved, values), name

    assert command("train --resume new --steps 6").code == 0
    assert json.loads(Path("new/vocab.json").read_text())["characters"] == characters
    ran = command("sample new --prime", "яé", "--length", 20, "--seed", 1)
    assert ran.code == 0, "both are known now"
    assert command("sample old --prime", "яé").code == 3


def test_a_run_reads_its_text_as_the_run_that_it_began_from_but_not_as_an_included_model():
    """The included models are older than the setting, and have read clean texts."""
    as_it_stands = with_model_of("old", charrnn.Config(clean=False), charrnn.Config())
    assert not as_it_stands.clean
    asked = with_model_of("old", charrnn.Config(clean=False), charrnn.Config(), asked=["clean"])
    assert asked.clean
    config = open_initial_model(charrnn.Config(init_from="prose")).config
    assert config.clean

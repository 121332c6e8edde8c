"""`--init-from RUN --extend-alphabet`: new characters get rows of their own, and all old weights stay what they are."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TrainedRun
from fixture_types import Command
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from synthetic import make_corpus

import charrnn
from charrnn.errors import DataError
from charrnn.model.network import CharRNN
from charrnn.model.shapes import ROWS, extend_rows, weight_shapes
from charrnn.text.vocab import MAX_VOCAB_SIZE, UNKNOWN, CharacterCounts, Vocab

WORDS = st.text(st.characters(min_codepoint=1, exclude_categories=("Cs",)), min_size=1, max_size=60)
NEW_TEXT = make_corpus(num_chars=6_000, seed=5).text.replace("a", "я").replace("e", "é")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lstm: TrainedRun) -> Path:
    """A folder with a new text, and the shared run under checkpoints/."""
    monkeypatch.chdir(tmp_path)
    Path("checkpoints").mkdir()
    Path("checkpoints/old").symlink_to(lstm.path.resolve())
    Path("new.txt").write_text(NEW_TEXT, encoding="utf-8")
    return tmp_path


def extend(vocab: Vocab, text: str, min_count: int = 3) -> Vocab:
    counts = Counter(map(ord, text))
    counted = CharacterCounts(np.array([*counts], np.int64), np.array([*counts.values()], np.int64))
    return vocab.extended(counted, min_count=min_count)


@given(WORDS, WORDS)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_old_characters_keep_their_ids_and_new_ones_follow_by_code_point(old_text: str, new_text: str) -> None:
    old = Vocab.from_text(old_text)
    new = extend(old, new_text)
    assert new.characters[: len(old)] == old.characters
    assert list(new.characters[len(old) :]) == sorted({*new_text} - {*old_text})
    assert np.array_equal(new.encode(old_text), old.encode(old_text))
    assert 0 not in new.encode(new_text) and new.decode(new.encode(new_text).tolist()) == new_text
    assert extend(new, new_text) == new


def test_a_rare_character_of_a_long_text_stays_unknown() -> None:
    old = Vocab.from_text("lamp")
    text = "lamp" * 10_000 + "xx" + "yyy"
    assert extend(old, text).characters == (*old.characters, "y")
    assert extend(old, text, min_count=2).characters == (*old.characters, "x", "y")


def test_nul_ends_documents_and_is_never_added() -> None:
    assert extend(Vocab.from_text("lamp"), "lit\0").characters == (UNKNOWN, *"almp", *"it")
    assert extend(Vocab.from_text("lamp\0"), "lit\0").characters == (UNKNOWN, "\0", *"almp", *"it")


def test_an_alphabet_has_a_limit() -> None:
    full = Vocab("char", (UNKNOWN, *map(chr, range(0x10000, 0x10000 + MAX_VOCAB_SIZE - 2))))
    assert len(extend(full, "a")) == MAX_VOCAB_SIZE
    with pytest.raises(DataError, match=r"^2 new characters and the 65,534 of .* more than 65,535: ") as caught:
        extend(full, "ab")
    assert "give a larger `min_count` than 3" in str(caught.value)


def test_old_rows_stay_and_new_ones_are_those_of_a_new_network() -> None:
    config = charrnn.Config(cell="gru", num_layers=2, hidden_size=4, embedding_size=3)
    old, drawn = (
        {name: value.numpy() for name, value in CharRNN(replace(config, seed=seed), size).state_dict().items()}
        for seed, size in ((0, 5), (1, 7))
    )
    extended = extend_rows(old, drawn)
    assert {name: value.shape for name, value in extended.items()} == weight_shapes(config, 7)
    for name, values in extended.items():
        assert values.dtype == np.float32
        assert np.array_equal(values[:5] if name in ROWS else values, old[name])
        assert name not in ROWS or np.array_equal(values[5:], drawn[name][5:])
    same = extend_rows(old, {name: value[:5] if name in ROWS else value for name, value in drawn.items()})
    assert all(np.array_equal(same[name], old[name]) for name in old)


@pytest.mark.trained
def test_the_first_checkpoint_has_all_old_weights_bit_for_bit(command: Command, lab: Path, lstm: TrainedRun) -> None:
    options = ("--init-from", "old", "--extend-alphabet", "--keep", 9)
    ran = command("train", "new.txt", *options, "--steps", 4, "--out", "new", "--json")
    assert ran.code == 0, ran.err
    start, *_ = map(json.loads, ran.out.splitlines())
    assert start["notes"] == ["2 new characters added to the alphabet of old: 'é', 'я'"]
    old_characters, characters = (
        json.loads((run / "vocab.json").read_text())["characters"] for run in (lstm.path, Path("new"))
    )
    num_old = len(old_characters)
    assert characters == [*old_characters, "é", "я"] and start["vocab_size"] == num_old + 2
    before = load_file(lstm.path / (lstm.path / "best").read_text().strip() / "model.safetensors")
    after = load_file("new/step-00000000/model.safetensors")
    trained = load_file("new/step-00000000/training.safetensors")
    for name, values in before.items():
        for saved in (after[name], trained[f"weights/{name}"]):
            assert np.array_equal(saved[:num_old] if name in ROWS else saved, values), name

    assert command("train", "--resume", "new", "--steps", 6).code == 0
    assert json.loads(Path("new/vocab.json").read_text())["characters"] == characters
    ran = command("sample", "new", "--prime", "яé", "--length", 20, "--seed", 1)
    assert ran.code == 0, "both are known now"
    assert command("sample", "old", "--prime", "яé").code == 3

"""Several models that predict together: weights 0 and 1, naive sums, other alphabets, and the two
commands.

Tests `reports.mix_arguments`, too.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from built_runs import build_chain
from conftest import copy_run
from hand_built import V, hand_built_tensors
from known_weights import CYCLE, chain_text

import charrnn
from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.errors import DataError, UsageError
from charrnn.reports.mix_arguments import parse_mix
from charrnn.reports.mixing import mix
from charrnn.text.vocab import Vocab

LETTERS = "\n ,.abcdefghijklmnopqrstuvwxy"
TEXT = "the cat, the dog.\n" * 60


def built(cell, name, characters=LETTERS, **settings):
    """An untrained model of random integers, the same on every machine."""
    sizes = {
        "num_layers": 2,
        "hidden_size": 12,
        "embedding_size": 7,
        "dropout": 0.0,
        "input_dropout": 0.0,
    }
    config = Config(cell=cell, **{**sizes, **settings})
    vocab = (
        Vocab.of_bytes() if config.alphabet == "byte" else Vocab("char", ("", *sorted(characters)))
    )
    tensors = hand_built_tensors(config, len(vocab))
    if name > "a":  # other weights than those of the first
        tensors = {
            key: np.roll(value, 1) if value.ndim == 1 else value[::-1] / 2
            for key, value in tensors.items()
        }
    return Model(config, vocab, tensors, name=name)


@pytest.fixture(scope="module")
def pair():
    """Two models of another cell, size and depth, whose states have other shapes."""
    return built("lstm", "a"), built("gru", "b", hidden_size=16, depth="dilated", num_layers=3)


def naive_nats(models, weights, text, characters):
    """The mean loss of text[1:], character by character, from the definition, in float64."""
    predictions = []  # of each model (N - 1, C)
    for model in models:
        known = model.vocab.characters
        ids = torch.tensor([[known.index(character)] for character in text[:-1]])
        with torch.no_grad():
            logits, _ = model.network(ids, model.network.initial_state(1))
        shared = [known.index(character) for character in characters]
        predictions.append(logits[:, 0].double()[:, shared].softmax(-1).numpy())
    total = 0.0
    for place, after in enumerate(text[1:]):
        mixed = np.zeros(len(characters))
        for probs, weight in zip(predictions, weights, strict=True):
            mixed += weight * probs[place]
        total -= math.log(mixed[characters.index(after)] / mixed.sum())
    return total / (len(text) - 1)


def test_the_loss_is_that_of_a_naive_loop(pair):
    mixture = mix(pair, (0.7, 0.3))
    evaluation = charrnn.evaluate_runs([pair[0]], TEXT, mixtures=[mixture], precision="fp32")
    rows = {(row.name, row.loss.protocol): row.loss.nats_per_char for row in evaluation.rows}
    # float32 log-probabilities of about 3, averaged over 1,079 characters
    expected = naive_nats(pair, (0.7, 0.3), TEXT, mixture.vocab.characters)
    assert rows["mixture", "stateful"] == pytest.approx(expected, abs=2e-5)
    assert f"mixture: {mixture.described}." in evaluation.notes


def test_numpy_and_torch_mix_alike(pair):
    mixture = mix([*pair, built("peephole", "c")], (0.5, 0.3, 0.2))
    ids = np.random.default_rng(0).integers(1, V, (20, 3))
    network = mixture.network
    with torch.no_grad():
        expected, last = network(torch.from_numpy(ids), network.initial_state(3))
    stepper = mixture.generator.model_for("fp32", {})
    state = stepper.initial_state(3)
    assert len(state.states) == 3
    for time, row in enumerate(ids):
        logits, state = stepper.step(row, state)
        np.testing.assert_allclose(logits, expected[time], atol=2e-4)
    for part, expected_part in zip(state.states, last.states, strict=True):
        np.testing.assert_allclose(part.vectors, expected_part.vectors, atol=2e-4)
    read, after = stepper.read(ids[:, 1])
    np.testing.assert_allclose(read[0], logits[1], atol=1e-5)
    for part, several in zip(after.states, state.states, strict=True):
        np.testing.assert_allclose(part.vectors[:, :, 0], several.vectors[:, :, 1], atol=1e-5)
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1, rtol=1e-12)


def test_a_weight_of_zero_leaves_out_and_a_model_with_itself_is_it(pair):
    for place, weights in ((0, (1.0, 0.0)), (1, (0.0, 1.0))):
        assert mix(pair, weights).models == (pair[place],)
    model, alone, same = pair[0], mix(pair, (1.0, 0.0)), mix(pair[:1] * 2)
    for options in (
        {"length": 50, "temperature": 0.4, "top_k": 5},
        {"length": 50, "precision": "fp32", "top_p": 0.8},
    ):
        expected = model.sample(seed=5, prime="the ", **options)
        assert alone.sample(seed=5, prime="the ", **options) == expected
        found = same.sample(seed=5, prime="the ", **options)
        assert found.text == expected.text
        np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-12)
    assert [one.text for one in same.beam(length=9, width=3)] == [
        one.text for one in model.beam(length=9, width=3)
    ]
    assert alone.predict("the ") == model.predict("the ")
    rows = charrnn.evaluate_runs([model], TEXT, mixtures=[alone, same], precision="fp32").rows
    assert rows[0].loss == rows[1].loss
    assert rows[2].loss.nats_per_char == pytest.approx(rows[0].loss.nats_per_char, abs=1e-6)


def test_other_alphabets_choose_among_the_characters_that_all_know(pair):
    models = (pair[0], built("gru", "b", characters="\nabcdefgh ,.ABC"))
    mixture = mix(models, (0.6, 0.4))
    shared = "\n ,.abcdefgh"
    assert mixture.vocab == Vocab("char", tuple(shared))
    assert mixture.warnings == (
        "the mixture chooses among the 12 characters that all runs know; left out: 17 of a, 3 of b",
    )
    assert set(mixture.sample(seed=0, length=200, temperature=2.0).text) <= set(shared)
    assert sum(one.probability for one in mixture.predict("abc", top=99)) == pytest.approx(1)
    text = "".join(np.random.default_rng(0).choice([*shared], 200))
    network, ids = mixture.network, mixture.vocab.encode(text).astype(np.int64)
    with torch.no_grad():
        scores, _ = network(torch.from_numpy(ids[:-1, None]), network.initial_state(1))
    nats = -scores[:, 0].gather(1, torch.from_numpy(ids[1:, None])).mean().item()
    assert nats == pytest.approx(naive_nats(models, (0.6, 0.4), text, shared), abs=2e-5)
    with pytest.raises(DataError, match="one of the mixed runs does not know: 't', 'o'"):
        charrnn.evaluate_runs([pair[0]], TEXT, mixtures=[mixture])
    with pytest.raises(DataError, match="not in the vocabulary of the mixture: 'z'"):
        mixture.sample(prime="z")


def test_the_end_of_a_document_resets_every_model():
    models = [built("lstm", name, "\0" + LETTERS, documents="lines") for name in ("a", "b")]
    mixture = mix(models)
    assert mixture.network.end_id == models[0].config.end_id == 1
    second = mixture.network.initial_state(1)
    first = second.map(lambda part: part + 0.3)
    with torch.no_grad():
        left = mixture.network(torch.tensor([[1], [5]]), first)
        right = mixture.network(torch.tensor([[1], [5]]), second)
    assert torch.equal(left[0], right[0])
    for part, other in zip(left[1].states, right[1].states, strict=True):
        assert torch.equal(part.vectors, other.vectors)
    assert all(text.has_ended is not None for text in mixture.samples(3, length=30, seed=0))
    with pytest.raises(UsageError, match="a was trained on documents, and c was not"):
        mix([models[0], built("lstm", "c")])


def test_wrong_weights_are_refused(pair):
    for weights, message in (
        ((0.5, 0.6), "sum 1.1; it must be 1"),
        ((float("nan"), 1.0), "is nan; it must be between 0 and 1"),
        ((1.0,), "2 models and 1 weight"),
    ):
        with pytest.raises(UsageError, match=message):
            mix(pair, weights)


def test_what_cannot_be_mixed_is_refused(pair):
    with pytest.raises(
        UsageError, match=r"a, greek have 1 of their characters in common.*\n.*same script"
    ):
        mix([pair[0], built("lstm", "greek", "\nαβγδ")])
    bytes_model = built("rnn", "bytes", alphabet="byte")
    assert (
        mix([bytes_model] * 2).sample(length=20, seed=1).text
        == bytes_model.sample(length=20, seed=1).text
    )
    with pytest.raises(
        UsageError, match=r"a reads characters and bytes reads bytes: they have no common alphabet"
    ):
        mix([pair[0], bytes_model])
    for options in ({"clamps": {(0, 1): 0.5}}, {"cell": (0, 1)}):
        with pytest.raises(UsageError, match="of one model, and this is a mixture"):
            mix(pair).sample(**options)


def test_a_run_may_have_an_equals_sign_in_its_name(alphabet_run, tmp_path):
    run, file = tmp_path / "rate=0.5", tmp_path / "rate=0.6.zip"
    copy_run(alphabet_run, run)
    charrnn.load(alphabet_run).export(file)
    names = [str(run), str(file), f"{run}@1"]
    assert parse_mix(names) == (names, None)
    assert parse_mix([f"{name}=0.25" for name in names]) == (names, [0.25, 0.25, 0.25, 0.25])
    (tmp_path / "rate=0.7.txt").write_text("a file that is no run")
    assert parse_mix([str(tmp_path / "rate=0.7.txt")]) == ([str(tmp_path / "rate=0.7.txt")], None)
    assert parse_mix([str(tmp_path / "rate=0.25")]) == ([str(tmp_path / "rate")], [0.75, 0.25])


def test_the_commands_mix_runs_of_other_alphabets(command, tmp_path):
    corpus = tmp_path / "chain.txt"
    corpus.write_bytes(chain_text(12_000).encode())
    forwards = build_chain(tmp_path / "forwards", CYCLE, corpus=corpus)
    others = build_chain(tmp_path / "others", "\nabxyz")
    known = command("sample", forwards, "--mix", others, "--length", 60, "--seed", 4)
    assert (
        known.code == 0
        and set(known.out) <= set("\nab")
        and "warning: the mixture chooses among" in known.err
    )
    # The n-grams are those of the first run's text.
    traced = command("sample", forwards, "--mix", others, "--length", 60, "--trace", "--json")
    provenance = json.loads(traced.out)["provenance"]
    numbers = provenance["characters"]
    assert "10,800 characters of the training text" in provenance["reach"]
    assert {len(values) for values in numbers.values()} == {provenance["num_chars"]}
    with_others = command("evaluate", forwards, "--mix", others)
    assert (
        with_others.code != 0
        and "different alphabets" in with_others.err
        and "--text" in with_others.err
    )
    Path("own.txt").write_text("ab\n" * 500)
    over_text = command("evaluate", forwards, "--mix", others, "--text", "own.txt")
    assert over_text.code == 0 and "chooses among the 3 characters" in over_text.out, over_text.err

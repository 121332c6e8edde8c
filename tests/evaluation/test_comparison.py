"""Several runs, --windowed and --per-line: what is compared, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
from built_runs import build_chain
from drawn import lines

import charrnn
from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.evaluation.comparison import MeasuredRun, evaluate_runs
from charrnn.evaluation.loss_reports import (
    Evaluation,
    EvaluationRow,
    LossReport,
    block_difference,
)
from charrnn.model.losses import CharLosses, char_losses
from charrnn.model.network import CharRNN
from charrnn.text.corpus import CorpusPart, read_corpus
from charrnn.text.recorded_corpus import recorded_corpus, state_of_corpus
from charrnn.text.splits import split_text
from charrnn.text.vocab import Vocab
from charrnn.views.tables import evaluation_view

CYCLE = "abcdé\n"
UNKNOWN = "ignore:.* characters are unknown to "
"""A warning that has a test of its own."""
TEXT = "".join("abcdé\ndab\néa"[(n * n) % 12] for n in range(6000))


def small_model(characters, seed=1, **changes):
    """Return an untrained model of these characters, or of bytes."""
    vocab = Vocab.of_bytes() if characters is None else Vocab("char", ("", *sorted(characters)))
    config = Config(
        alphabet=vocab.kind,
        cell_type="gru",
        num_layers=1,
        embedding_size=3,
        seed=seed,
        **{"hidden_size": 5, **changes},
    )
    tensors = {
        name: 3 * value.detach().numpy()
        for name, value in CharRNN(config, len(vocab)).state_dict().items()
    }
    return Model(config, vocab, tensors, name=f"model-{seed}")


def row_of(name, protocol, nats):
    """A row of a run whose other losses are of no interest."""
    loss = LossReport(
        protocol=protocol,
        nats_per_char=nats,
        bpc=nats,
        bits_per_byte=nats,
        num_chars=999,
        text_length=1000,
        precision="fp32",
    )
    return EvaluationRow(name=name, step=1, loss=loss)


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [
        ([("one", "stateful", 1.0)], None),
        ([("one", "stateful", 1.0), ("two", "stateful", 2.0)], None),
        ([("one", "stateful", 1.0), ("one", "windowed-256", 3.0)], 3.0),
        ([("one", "stateful", 1.0), ("two", "windowed-256", 4.0)], None),
    ],
)
def test_json_has_the_windowed_loss_of_the_first_run_alone(protocols, expected):
    rows = tuple(row_of(name, protocol, nats) for name, protocol, nats in protocols)
    data = Evaluation(rows=rows, part=None).to_json()
    assert (data["protocol"], data["nats_per_char"]) == ("stateful", 1.0)
    windowed = data.get("windowed_256", {"nats_per_char": None})
    assert windowed["nats_per_char"] == expected


def test_the_rows_are_those_of_each_run_alone_with_paired_differences():
    models = [small_model(CYCLE, seed) for seed in (1, 2)]
    found = evaluate_runs(models, TEXT, precision="fp32", windowed=True)
    pairs = [(model, protocol) for protocol in ("stateful", "windowed-256") for model in models]
    assert [(row.name, row.loss.protocol) for row in found.rows] == [
        (model.name, name) for model, name in pairs
    ]
    for row, (model, protocol) in zip(found.rows, pairs, strict=True):
        alone = charrnn.evaluate(model, TEXT, protocol=protocol, precision="fp32")
        assert row.loss.nats_per_char == pytest.approx(alone.nats_per_char, abs=1e-9)
        assert row.loss.nats_ci is not None and row.loss.nats_ci == pytest.approx(
            alone.nats_ci, abs=1e-9
        )
        bpc_ci = [end / math.log(2) for end in row.loss.nats_ci]
        assert row.loss.bpc_ci == pytest.approx(bpc_ci)
        assert row.loss.bits_per_byte_ci == pytest.approx(
            [end * len(TEXT) / len(TEXT.encode()) for end in bpc_ci]
        )
    first, second, first_windowed, second_windowed = found.rows
    assert first.difference is None and first_windowed.difference is None
    for one, other in ((first, second), (first_windowed, second_windowed)):
        difference = other.difference
        assert difference.low < difference.mean < difference.high
        assert difference.mean == pytest.approx(
            other.loss.nats_per_char - one.loss.nats_per_char, abs=1e-9
        )


def test_a_paired_difference_is_far_more_exact_than_the_losses():
    generator = np.random.default_rng(0)
    # Both predictors find the same passages hard; one is 0.05 nats better everywhere, with a little
    # noise.
    hard = np.repeat(generator.exponential(size=100), 100).astype(np.float32)
    positions = np.arange(1, len(hard) + 1)
    noise = generator.normal(scale=0.2, size=len(hard)).astype(np.float32)
    first, second = (
        CharLosses(positions, hard + 1),
        CharLosses(positions, hard + np.float32(0.95) + noise),
    )
    ids = np.zeros(len(hard) + 1, np.uint16)
    of_text = {"content": "", "ids": ids, "exact_ids": ids, "first": 0}
    of_text |= {"num_bytes": len(ids), "num_unknown": 0}
    run = MeasuredRun(name="run", model=small_model(CYCLE), precision="fp32", **of_text)
    alone = run.report(second.scores, protocol="stateful", precision="fp32").nats_ci
    difference = block_difference(second.blocks, first.blocks)
    assert alone is not None and difference is not None
    assert difference.low < -0.05 < difference.high < 0
    assert difference.high - difference.low < 0.1 * (alone[1] - alone[0])


def test_between_characters_and_bytes_there_is_no_difference():
    found = evaluate_runs(
        [small_model(CYCLE), small_model(None, 2)],
        TEXT,
        precision="fp32",
        windowed=True,
    )
    assert [row.difference for row in found.rows] == [None] * 4
    shown = "\n".join(lines(evaluation_view(found), width=80))
    assert "bytes: compare bits/byte." in " ".join(shown.split())


def share_of(recorded, text):
    """Return the share of a text that the recorded training text contains."""

    def read_training():
        corpus = recorded.read()
        part = split_text(corpus.ids, recorded.config)[0]
        return CorpusPart(corpus, begin=part.start, end=part.stop)

    return recorded.trained_share(text, read_training)


@pytest.mark.parametrize("alphabet", ["char", "byte"])
def test_a_part_of_the_training_text_is_recognized_by_its_passages(tmp_path, alphabet):
    own = [f"line {n:04} of a corpus, as it is.\n" for n in range(1_000)]
    (tmp_path / "own.txt").write_text("".join(own), encoding="utf-8", newline="")
    config = Config(corpus=(str(tmp_path / "own.txt"),), alphabet=alphabet)
    recorded = recorded_corpus("run", config, state_of_corpus(read_corpus(config)), folder=tmp_path)
    other = [line.replace("corpus", "poetry") for line in own]
    # A passage goes on for some characters beyond the line that the texts share.
    for lines_given, share in (
        (own, 0.9),
        (own[100:300], 1),
        (own[:50] + other[:150], pytest.approx(0.25, abs=0.01)),
        (own[900:], 0),
        (other, 0),
    ):
        assert share_of(recorded, "".join(lines_given)) == share
    (tmp_path / "own.txt").write_text("changed", encoding="utf-8")
    assert share_of(recorded, "".join(own[:200])) is None


@pytest.mark.parametrize("source", ["own", "own/*.txt"])
def test_a_part_of_a_folder_is_recognized_by_its_passages(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    own = [f"line {n:04} of a corpus, as it is.\n" for n in range(1_000)]
    (tmp_path / "own").mkdir()
    for begin in range(0, 1_000, 100):
        text = "".join(own[begin : begin + 100])
        (tmp_path / "own" / f"{begin:04}.txt").write_text(text, encoding="utf-8")
    config = Config(corpus=(source,), order="sorted")
    corpus = read_corpus(config)
    recorded = recorded_corpus("run", config=config, state=state_of_corpus(corpus), folder=tmp_path)
    assert share_of(recorded, "".join(own[100:300])) == 1
    assert share_of(recorded, "".join(own[900:])) == 0


@pytest.mark.slow
def test_runs_of_bytes_and_of_characters_are_compared_on_what_both_hold_out(tmp_path):
    text = "abcdé\n" * 1_800 + "é" * 1_250 + "a" * 702
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    models = []
    for alphabet, seed in (("char", 1), ("byte", 2)):
        model = small_model(
            CYCLE if alphabet == "char" else None, seed, corpus=(str(tmp_path / "text.txt"),)
        )
        state = state_of_corpus(read_corpus(model.config))
        models.append(
            replace(
                model,
                recorded_corpus=recorded_corpus(model.name, model.config, state, folder=tmp_path),
            )
        )
    for order in (models, models[::-1]):
        found = evaluate_runs(order, precision="fp32")
        begin, end = found.common_bytes or (0, 0)
        # The byte run holds out from the second byte of an é on.
        assert (begin, end) == (14_222, 15_802)
        held_out = text.encode()[begin:].decode()
        lengths = {row.name: row.loss.text_length for row in found.rows}
        assert lengths == {"model-1": len(held_out), "model-2": end - begin}
        header = (
            "Stateful loss over the validation text that all runs have: bytes 14,222 to 15,802 of their"
            " text"
        )
        assert lines(evaluation_view(found), width=100)[0] == header
        assert found.to_json()["common_bytes"] == (begin, end)


@pytest.mark.filterwarnings(UNKNOWN)
def test_what_is_unknown_to_some_alphabet_costs_what_says_which_character_it_is():
    text, models = (
        TEXT + "Qdé" * 500,
        [small_model(CYCLE), small_model(CYCLE + "Q", 2), small_model(None, 3)],
    )
    found = evaluate_runs(models, text, precision="fp32")
    encoded = models[0].encode(text)
    losses = char_losses(models[0].network, encoded.ids, 1, precision="fp32")
    escape = math.log(0x110000 - 0x800 - len(CYCLE)) * 500 / (len(text) - 1)
    nats = [row.loss.nats_per_char for row in found.rows[:3]]
    # float32 losses of single characters
    assert nats[0] == pytest.approx(losses.blocks.mean + escape, rel=1e-6)
    [difference] = [row.difference for row in found.rows[:3] if row.difference is not None]
    assert difference.mean == pytest.approx(nats[1] - nats[0], rel=1e-6), (
        "which knows Q is better by what Q costs"
    )
    assert (
        "model-1 does not know 500 characters of this text, each of which costs 13.92 nats"
        in found.notes[0]
    )
    assert "model-1 reads characters and model-3 bytes: compare bits/byte." in found.notes


@pytest.mark.slow
@pytest.mark.filterwarnings(UNKNOWN)
@pytest.mark.parametrize("protocol", ["stateful", "windowed-256"])
def test_a_figure_of_a_text_with_unknown_characters_is_that_beside_another_alphabet(protocol):
    text = TEXT[:2_000] + "Qdé" * 100
    models = [small_model(CYCLE), small_model(CYCLE + "Q", 2)]
    rows = evaluate_runs(models, text, precision="fp32", windowed=True).rows
    beside = [row.loss.bits_per_byte for row in rows if row.loss.protocol == protocol]
    alone = [
        charrnn.evaluate(model, text, protocol=protocol, precision="fp32").bits_per_byte
        for model in models
    ]
    # float32 losses of single characters
    assert beside == pytest.approx(alone, rel=1e-6)
    assert alone[0] > alone[1], "which knows Q"


@pytest.mark.filterwarnings(UNKNOWN)
def test_n_grams_charge_for_unknown_characters_as_their_run_does(tmp_path):
    (tmp_path / "known.txt").write_text(TEXT, encoding="utf-8")
    model = charrnn.load(build_chain(tmp_path / "run", CYCLE, corpus=tmp_path / "known.txt"))
    escape = model.vocab.escape_nats
    found = evaluate_runs([model], TEXT[:3_000] + "Q" * 500, ngrams=(1,))
    assert [row.loss.nats_per_char > escape / 8 for row in found.rows] == [True] * len(found.rows)

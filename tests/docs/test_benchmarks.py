"""The benchmarks' own arithmetic and reports: what they count and print, not how fast anything
is."""

import json
import sys

import numpy as np
import pytest
import torch
from environment import REPOSITORY

from benchmarks.gpu import gpu_check
from benchmarks.losses import peers, words
from benchmarks.speed import train_speed
from charrnn.model.device import on_threads
from charrnn.ngrams.kneser_ney import probabilities_by_order

FOLDER = REPOSITORY / "benchmarks"

pytestmark = pytest.mark.docs


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "mlstm"])
def test_a_step_s_products_are_those_of_its_equations(cell):
    """Counted by hand: forward once, and twice as much backward, of every weight but a table's."""
    num_layers, hidden_size, lanes, length = 2, 12, 3, 5
    trainer = train_speed.our_step(cell, num_layers, hidden_size, lanes, length, "fp32")
    layers = [layer for layer in trainer.network.modules() if hasattr(layer, "matrices")]
    weights = sum(layer.weight(name).numel() for layer in layers for name in layer.cell.products)
    weights += sum(layer.weight("ih").numel() for layer in layers[0 if cell == "lstm" else 1 :])
    weights += trainer.network.output.weight.numel()
    assert train_speed.num_operations(trainer.config) == 3 * 2 * weights * lanes * length
    train_speed.products_alone(trainer.config)()


def test_the_check_of_a_gpu_runs_through_on_a_cpu(tmp_path, monkeypatch):
    """What it checks is trivial there; that every part of it runs is not."""
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--quick"])
    with on_threads(1):
        assert gpu_check.main() == 0
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert {row["result"] for row in found["rows"]} == {"pass", "measured", "skipped"}
    assert len(found["rows"]) > 40
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.startswith("cpu, torch") and "0 of" in report.splitlines()[-1]


def test_a_model_of_blocks_predicts_each_character_from_the_last_ones():
    embedding = torch.nn.functional.one_hot(torch.arange(5)).float()

    def read(ids, _):
        """The logits after each character: how often the block has each until then."""
        return (embedding[ids].cumsum(0),)

    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (45, 2)))
    logits, _ = peers.BlockReader(read, block_size=16)(ids, None)
    num_read = logits.sum(-1)
    assert logits.shape == (45, 2, 5)
    assert num_read[:16, 0].tolist() == list(range(1, 17))
    assert num_read.max() == 16 and num_read[16:].min() == 16 - 16 // peers.READINGS + 1
    for position in (3, 20, 44):
        length = int(num_read[position, 1])
        expected = embedding[ids[position - length + 1 : position + 1, 1]].sum(0)
        assert logits[position, 1].tolist() == expected.tolist()


def test_the_ngrams_that_write_are_those_that_are_measured():
    random = np.random.default_rng(0)
    ids = np.repeat(random.integers(0, 4, 200), 2).astype(np.uint16)
    text = random.integers(0, 4, 30).astype(np.uint16)
    written = words.Ngrams(ids, vocab_size=5, order=6)
    contexts = [0]
    found = []
    for id in text.tolist():
        probabilities = written.probabilities(contexts)
        assert probabilities.sum() == pytest.approx(1)
        found.append(probabilities[id])
        contexts = written.contexts_after(contexts, id)
    places = np.arange(len(text))
    [(_, expected)] = probabilities_by_order(ids, text, places, vocab_size=5, orders=[6])
    # The same sums, in another order.
    assert found == pytest.approx(expected.tolist(), rel=1e-9)


def test_invented_words_are_counted_by_both_divisions():
    known = words.Words("It's a well-known KING, and McAdam ends here")
    assert known.count("It's king King Mcadam McAdam A well-known kinG and") == (1, 8)
    assert known.count("it-s a-well known-a x") == (3, 3)
    assert known.count("ends here ends") == (1, 2), "the last word of a text may be cut"


def test_the_index_lists_every_program():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    programs = [path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.py")]
    listed = [path for path in programs if not path.startswith("histories/")]
    assert len(listed) > 20
    assert [path for path in listed if f"]({path})" not in index] == []

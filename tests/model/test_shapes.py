"""Sizes that are refused: files of a run before they are read, and models that do not fit in
memory."""

import os
from dataclasses import replace

import pytest
from saved_runs import CONFIG, VOCAB, forge, make_run, save

from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, UsageError
from charrnn.model.shapes import MAX_HEADER_BYTES, check_memory, most_bytes


def test_a_saved_step_may_be_four_copies_of_the_weights_and_the_state():
    config = Config(cell="rnn", num_layers=1, hidden_size=200, embedding_size=100, batch_size=7)
    num_weights = 50 * 100 + 200 * (100 + 200) + 2 * 200 + 50 * 200 + 50
    state = 1 * 1 * 7 * 200
    assert most_bytes(config, 50) == 4 * (4 * num_weights + state) + MAX_HEADER_BYTES
    assert MAX_HEADER_BYTES == 2**20


@pytest.mark.parametrize("excess", [0, 1])
def test_a_larger_file_than_the_model_can_need_is_refused_by_its_size(tmp_path, excess):
    run = make_run(tmp_path / "run")
    name = save(run, 9)
    forge(run, name, "training.safetensors", bytes(most_bytes(CONFIG, len(VOCAB)) + excess))
    # Zeros are no tensors either: a file of the permitted size is read, and refused for its
    # content.
    reason = (
        "it is larger than config.yaml allows"
        if excess
        else "training.safetensors is damaged: (?!it is larger)"
    )
    with pytest.raises(CheckpointError, match=reason):
        run.load_checkpoint(name, with_training=True)


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows does not tell its memory this way")
def test_a_model_that_does_not_fit_in_memory_is_refused_with_both_sizes(monkeypatch):
    monkeypatch.setattr(
        os, "sysconf", {"SC_PHYS_PAGES": 1_000_000, "SC_PAGE_SIZE": 3_000}.__getitem__
    )
    config = Config(cell="rnn", num_layers=1, hidden_size=11_000, embedding_size=100)
    check_memory(replace(config, hidden_size=6_500), 50)  # 43 million weights, which need 2.6 GB
    with pytest.raises(
        UsageError,
        match=r"258,437,050 weights need about 15.5 GB of memory to train, .* may have 3.0 GB",
    ):
        check_memory(replace(config, hidden_size=16_000), 50)

"""Compare docs/learn/examples/minimal.py with charrnn on equal weights: losses, gradients, samples, labels and
scores; and run it."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from environment import REPOSITORY, load_script
from synthetic import make_corpus

import charrnn
from charrnn.detectors.registry import get_detectors
from charrnn.text.vocab import Vocab

pytestmark = pytest.mark.docs
SCRIPT = REPOSITORY / "docs" / "learn" / "examples" / "minimal.py"
CORPUS = make_corpus(num_chars=12_000)
VOCABULARY = sorted(set(CORPUS.text))
V, H = len(VOCABULARY), 8
ROUNDING = 1e-10
"""Tolerance in float64, where two orders of the same sums differ by about 1e-14."""


minimal = load_script(SCRIPT)


def model_of(weights):
    """Return the same model of charrnn: its LSTM has two biases, of which the second one is
    zero."""
    tensors = {
        "layers.0.weight_ih_l0": weights["W_x"].T.copy(),
        "layers.0.weight_hh_l0": weights["W_h"].T.copy(),
        "layers.0.bias_ih_l0": weights["b"],
        "layers.0.bias_hh_l0": np.zeros_like(weights["b"]),
        "output.weight": weights["W_y"].T.copy(),
        "output.bias": weights["b_y"],
    }
    config = charrnn.Config(
        cell_type="lstm", num_layers=1, hidden_size=H, embedding_size="one-hot", alphabet="exact"
    )
    return charrnn.Model(config, Vocab("char", tuple(VOCABULARY)), tensors)


def in_float64(weights):
    return {name: weight.astype(np.float64) for name, weight in weights.items()}


def ids_of(text):
    return np.array([VOCABULARY.index(character) for character in text])


# Large enough that the gates open and close.
DRAW, SHAPES = (
    np.random.default_rng(5),
    {"W_x": (V, 4 * H), "W_h": (H, 4 * H), "b": 4 * H, "W_y": (H, V), "b_y": V},
)
WEIGHTS = {name: DRAW.normal(0, 0.8, shape).astype(np.float32) for name, shape in SHAPES.items()}
MODEL = model_of(WEIGHTS)


def test_losses_are_those_of_charrnn():
    text = CORPUS.text[:600]
    expected = [step.loss for step in MODEL.numbers(text).steps][:-1]
    weights, ids = in_float64(WEIGHTS), ids_of(text)
    h, _, _ = minimal.read(weights, ids[:, None], minimal.initial_state(weights, 1))
    losses = minimal.losses_of(minimal.predict(weights, h[1:-1, 0]), ids[1:])
    np.testing.assert_allclose(losses, expected, rtol=0, atol=ROUNDING)


def test_training_is_that_of_torch_with_carried_states(monkeypatch):
    rows, window, num_steps, peak = 3, 5, 7, 0.5
    for name, value in {"BATCH_SIZE": rows, "BPTT_LENGTH": window, "LEARNING_RATE": peak}.items():
        monkeypatch.setattr(minimal, name, value)
    ids = ids_of(
        CORPUS.text[: rows * (4 * window + 1)]
    )  # Four windows: the fifth step begins the text again.
    weights = in_float64(WEIGHTS)
    minimal.train(weights, ids, num_steps)

    network = model_of(WEIGHTS).network.double()
    parameters = dict(network.named_parameters())
    names = {
        "W_x": "layers.0.weight_ih_l0",
        "W_h": "layers.0.weight_hh_l0",
        "b": "layers.0.bias_ih_l0",
    }
    names |= {"W_y": "output.weight", "b_y": "output.bias"}
    trained = {own: parameters[name] for own, name in names.items()}
    optimizer = torch.optim.Adam(trained.values(), betas=(0.9, 0.99))
    parts = torch.from_numpy(ids).view(rows, -1).T
    state = network.initial_state(rows)
    for step in range(num_steps):
        begin = step % 4 * window
        state = network.initial_state(rows) if begin == 0 else state.detach()
        logits, state = network(parts[begin : begin + window], state)
        targets = parts[begin + 1 : begin + window + 1].flatten()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets).backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.param_groups[0]["lr"] = peak * (1 - step / num_steps)
        optimizer.step()
    for name, parameter in trained.items():
        # torch divides by the norm plus 1e-6 when it clips.
        np.testing.assert_allclose(
            weights[name], parameter.detach().numpy().T, rtol=0, atol=1e-5, err_msg=name
        )
        assert np.abs(weights[name] - WEIGHTS[name]).max() > 0.1


def test_samples_are_those_of_charrnn():
    text = minimal.sample(WEIGHTS, VOCABULARY, 300, 0.5, np.random.default_rng(3))
    written = MODEL.sample(prime="", temperature=0.5, length=300, seed=3, precision="fp32")
    assert text == written.text


@pytest.mark.parametrize(
    "text", [CORPUS.text, 'a "b" “c\n\nd” "e\nf"\n\n\n“g “h” i', "\n\nno quotations\n", '"']
)
def test_labels_are_those_of_charrnn(text):
    quote, line_position = get_detectors(["quote", "line-position"])
    assert minimal.label_quotes(text).tolist() == quote.label(text).tolist()
    position = line_position.label(text)
    assert minimal.label_late_in_line(text).tolist() == (position > np.median(position)).tolist()


def test_the_best_cell_and_its_score_are_those_of_charrnn():
    _, c, _ = minimal.read(WEIGHTS, ids_of(CORPUS.text)[:, None], minimal.initial_state(WEIGHTS, 1))
    found = minimal.find_cell(c[1:, 0], minimal.label_quotes(CORPUS.text))
    trace = MODEL.trace(CORPUS.text)
    (score,) = charrnn.find_cells(trace, ["quote"]).scores
    np.testing.assert_allclose(np.tanh(c[1:, 0]), trace.cells[:, 0], rtol=0, atol=1e-5)
    assert score.auc is not None and found == (score.unit, pytest.approx(score.auc, abs=1e-6))


def test_the_script_runs(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(CORPUS.text, encoding="utf-8")
    command = [sys.executable, str(SCRIPT), str(path), "20"]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=600, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    nats = re.search(r"step 20 of 20: (\d\.\d+) nats", ran.stdout)
    held_out = re.search(r"The held-out text: (\d\.\d+) nats per character", ran.stdout)
    assert nats and held_out and float(held_out[1]) < np.log(V)
    assert re.search(r"Cell \d+ follows 'inside quotations': AUC 0\.\d+", ran.stdout)
    assert "\x1b" not in ran.stdout


def test_it_is_one_short_file_that_needs_numpy_only():
    source = SCRIPT.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 250
    modules = {*re.findall(r"(?m)^(?:import|from) (\w+)", source)}
    assert modules - {"numpy"} <= sys.stdlib_module_names

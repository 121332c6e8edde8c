"""Dynamic evaluation equals a naive loop and is causal. N characters, T characters of a segment, V
vocabulary."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from built_runs import build_chain
from effects_networks import make_ids, tensors_of
from known_weights import CYCLE, chain_text
from torch.nn.functional import cross_entropy

import charrnn
from charrnn.api import Model
from charrnn.config.architectures import CELL_DESCRIPTIONS, DEPTH_DESCRIPTIONS
from charrnn.config.settings import Config
from charrnn.errors import DataError, NonFiniteError, UsageError
from charrnn.evaluation.comparison import evaluate, evaluate_runs
from charrnn.model.losses import char_losses
from charrnn.model.network import CharRNN
from charrnn.reports import dynamic
from charrnn.reports.dynamic import DynamicSettings, adapt, root_mean_square_gradients
from charrnn.text.vocab import Vocab

V = 6
LARGE_STEPS = DynamicSettings(segment_length=4, learning_rate=0.01, decay=0.1, damping=0.5)


def make_network(config):
    network = CharRNN(config, V).double()
    with torch.no_grad():
        network.output.weight.mul_(
            4
        )  # untrained logits are all alike; these care what they have read
        if network.learned_state is not None:
            network.learned_state.fill_(0.3)
    return network


def make_config(cell="lstm", depth="stacked", **settings):
    sizes = {"num_layers": 2, "hidden_size": 8, "embedding_size": 4}
    return Config(cell=cell, depth=depth, **sizes | settings)


def naive_adaptation(config, network, ids, first, scale):
    """Read one character after the other, and change the weights by the formula of the paper after
    each segment."""
    settings = LARGE_STEPS
    copy = CharRNN(config, V).double()
    copy.load_state_dict(network.state_dict())
    weights = dict(copy.named_parameters())
    trained = {name: value.detach().clone() for name, value in weights.items()}
    mean = torch.cat([part.flatten() for part in scale.values()]).mean()
    state, found, is_right = copy.initial_state(1), [], []
    for char in ids[: first - 1]:
        _, state = copy(torch.tensor([[int(char)]]), state)
    for begin in range(first, len(ids), settings.segment_length):
        copy.zero_grad()
        state, losses = state.map(torch.detach), []
        for index in range(begin, min(begin + settings.segment_length, len(ids))):
            logits, state = copy(torch.tensor([[int(ids[index - 1])]]), state)
            losses.append(-logits[0, 0].log_softmax(-1)[int(ids[index])])
            is_right.append(int(logits[0, 0].argmax()) == ids[index])
        found.extend(loss.item() for loss in losses)
        torch.stack(losses).mean().backward()
        with torch.no_grad():
            for name, value in weights.items():
                back = (settings.decay * scale[name] / mean).clamp(max=1) * (trained[name] - value)
                slope = torch.zeros_like(value) if value.grad is None else value.grad
                value += back - settings.learning_rate * slope / (
                    scale[name] + settings.damping * mean
                )
    return found, is_right, {name: value.detach() for name, value in weights.items()}


CONFIGS = [
    *(make_config(cell) for cell in CELL_DESCRIPTIONS),
    *(make_config(depth=depth) for depth in DEPTH_DESCRIPTIONS),
    make_config("gru", zoneout=0.1, weight_drop=0.2, dropout=0.3),
    make_config(documents="lines", initial_state="learned"),
    make_config("gru", documents="lines"),
    make_config("gru", "residual", documents="lines", sum_outputs=True),
]


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda config: f"{config.cell}-{config.depth}-{config.documents}"
)
def test_dynamic_evaluation_equals_a_loop_over_the_characters(config):
    network, ids = make_network(config), make_ids(31)
    first = 1 if config.depth == "residual" else 9
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scale = root_mean_square_gradients(network, make_ids(200, seed=2), LARGE_STEPS.segment_length)
    adapted = adapt(network, ids, first, scale=scale, settings=LARGE_STEPS)
    losses, is_right, weights = naive_adaptation(config, network, ids, first, scale)
    assert adapted.losses.positions.tolist() == list(range(first, 31))
    # The losses are rounded to float32, the weights are not; the products are summed in another
    # order.
    np.testing.assert_allclose(adapted.losses.nats, losses, rtol=1e-6)
    assert adapted.losses.is_right.tolist() == is_right
    for name, value in weights.items():
        torch.testing.assert_close(adapted.tensors[name], value, rtol=1e-8, atol=1e-10)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_each_of_equally_likely_characters_is_a_first_guess():
    network, ids = make_network(make_config()), make_ids(5)
    torch.nn.init.zeros_(network.output.weight)
    scale = root_mean_square_gradients(network, make_ids(200, seed=2), LARGE_STEPS.segment_length)
    adapted = adapt(network, ids, 1, scale=scale, settings=LARGE_STEPS)
    assert adapted.losses.is_right.all() and char_losses(network, ids).is_right.all()


@pytest.mark.parametrize("num_chars", [2, 40, 300])
def test_the_scale_is_the_root_mean_square_of_the_gradients(num_chars, monkeypatch):
    monkeypatch.setattr(dynamic, "NUM_STRETCHES", 3)
    network, ids, num_segments = (
        make_network(make_config("gru")),
        make_ids(num_chars),
        dynamic.SEGMENTS_OF_STRETCH,
    )
    scale = root_mean_square_gradients(network, ids, 4)
    length = 30 + 4 * num_segments + 1
    num_stretches = max(1, min(3, num_chars // length))
    warm_up = min(30, max(0, num_chars - 4 * num_segments - 1))
    squares = {name: [] for name in scale}
    for stretch in range(num_stretches):
        start = stretch * max(0, num_chars - length) // num_stretches
        text = torch.from_numpy(
            ids[start : start + warm_up + 4 * num_segments + 1].astype(np.int64)
        )
        state = network.initial_state(1)
        if warm_up:
            _, state = network(text[:warm_up, None], state)
        for begin in range(warm_up, len(text) - 1, 4):
            network.zero_grad()
            segment = text[begin : begin + 5]
            logits, state = network(segment[:-1, None], state.map(torch.detach))
            cross_entropy(logits[:, 0], segment[1:]).backward()
            for name, parameter in network.named_parameters():
                squares[name].append(
                    parameter.grad.clone() ** 2 if parameter.grad is not None else 0 * parameter
                )
    for name, found in scale.items():
        torch.testing.assert_close(
            found, torch.stack(squares[name]).mean(0).sqrt(), rtol=1e-6, atol=1e-12
        )


def test_divergence_is_an_error():
    network, ids = make_network(make_config("irnn")).float(), make_ids(400)
    scale = root_mean_square_gradients(network, make_ids(100), 20)
    with pytest.raises(
        NonFiniteError, match=r"diverged after .* characters: lower `learning_rate`, now 1e\+30"
    ):
        adapt(network, ids, 100, scale=scale, settings=DynamicSettings(learning_rate=1e30))


def test_a_setting_out_of_range_is_refused():
    with pytest.raises(UsageError, match="`learning_rate` is nan; it must be 0 or more"):
        DynamicSettings(learning_rate=float("nan"))


@pytest.fixture(scope="module", autouse=True)
def short_scale_texts():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SCALE_TEXTS": 4, "SCALE_WARM_UP": 30, "NUM_STRETCHES": 4}.items():
            patch.setattr(dynamic, name, value)
        yield


@pytest.fixture(scope="module")
def model(chain_run):
    return charrnn.load(chain_run)


def row_of(evaluation, name, protocol):
    rows = [row for row in evaluation.rows if (row.name, row.loss.protocol) == (name, protocol)]
    assert len(rows) == 1
    return rows[0]


def test_fewer_characters_of_several_runs_are_scored_beside_their_own_static_losses(
    model, chain_run, tmp_path, monkeypatch
):
    other = charrnn.load(
        build_chain(tmp_path / "other", "\nacegbdf", corpus=chain_run.parent / "chain.txt")
    )
    evaluation = evaluate_runs([model, other], dynamic=True, max_chars=1_000)
    part = model.held_out()
    for run, name in ((model, "chain[:1000]"), (other, "other[:1000]")):
        static = row_of(evaluation, name, "stateful")
        row = row_of(evaluation, name, "dynamic")
        expected = char_losses(
            run.network, part.ids[: part.begin + 1_000], part.begin, precision="fp32"
        )
        assert static.loss.num_chars == row.loss.num_chars == 1_000
        assert row.difference.mean == pytest.approx(
            row.loss.nats_per_char - expected.blocks.mean, abs=1e-6
        )
    monkeypatch.setattr(dynamic, "MAX_DYNAMIC", 1_100)
    row_of(evaluate_runs([model], dynamic=True), "chain[:1100]", "dynamic")


def test_another_text_needs_no_corpus(tmp_path):
    model = charrnn.load(build_chain(tmp_path / "chain", CYCLE))
    text = chain_text(500)
    found = row_of(evaluate_runs([model], text, dynamic=True), "chain", "dynamic")
    assert found.loss == evaluate(model, text, protocol="dynamic")
    assert evaluate(model, text, protocol="dynamic", max_chars=200).num_chars == 200


STRONG = DynamicSettings(learning_rate=0.01)


def make_text(num_chars, seed=0):
    """Draw a text of the chain's characters in which, unlike in the chain, two steps are as likely
    as one."""
    steps = np.random.default_rng(seed).choice([1, 2], num_chars)
    return "".join(CYCLE[place] for place in np.cumsum(steps) % len(CYCLE))


def mean_loss(model, text):
    return char_losses(model.network, model.encode(text).ids, precision="fp32").blocks.mean


def test_an_adapted_model_predicts_more_of_the_same_better_and_belongs_to_no_run(
    chain_run, model, monkeypatch
):
    other = make_text(1_000, seed=1)
    monkeypatch.setattr(dynamic, "SCALE_TEXTS", 8)
    adapted = model.adapted(make_text(2_000), settings=STRONG)
    assert mean_loss(adapted, other) < 0.8 * mean_loss(model, other)
    found = adapted.adaptation
    assert found is not None and model.adaptation is None
    assert (
        found.num_chars == 1_999 and found.text_length == 2_000
    )  # nothing predicts the first character
    assert found.static_nats == pytest.approx(mean_loss(model, make_text(2_000)), rel=1e-5)
    assert found.dynamic_nats < found.static_nats
    assert (adapted.name, adapted.path, adapted.step_digest) == ("chain, adapted", None, None)
    for name, tensor in charrnn.load(chain_run).tensors.items():
        assert np.array_equal(model.tensors[name], tensor)
    monkeypatch.setattr(dynamic, "MAX_ADAPTED", 500)
    end = model.adapted(make_text(900)).adaptation
    assert end is not None and (end.num_chars, end.text_length) == (500, 900)


def test_bytes_are_learned_by_a_model_of_bytes_alone(model):
    config = make_config("gru", alphabet="byte")
    weights = tensors_of(CharRNN(config, 256))
    found = (
        Model(config, Vocab.of_bytes(), weights)
        .adapted(b"\xff\x00a" * 20, settings=STRONG)
        .adaptation
    )
    assert found.num_chars == 59 and found.dynamic_nats < found.static_nats
    with pytest.raises(
        UsageError, match="This model reads characters, and the text is given as bytes"
    ):
        model.adapted(b"abc" * 20)


def test_what_cannot_be_learned_is_refused(model):
    for text, message in (
        ("", "empty"),
        ("abcabcabc", "The text to adapt to has 9 characters; it needs at least 21."),
        ("abcdxyz" * 20, "The text to adapt to has characters that are not in the vocabulary"),
    ):
        with pytest.raises(DataError, match=message):
            model.adapted(text)
    with pytest.raises(DataError, match="knows no character of the text to adapt to"):
        model.adapted("ЖЖ" * 20, unknown="nearest")


def test_the_command_reads_standard_input(chain_run, command, monkeypatch):
    words = ("--adapt", "-", "--unknown", "nearest", "--length", 5)
    read = command("sample", chain_run, *words, stdin=b"abcdxyz" * 20)
    assert read.code == 0 and read.err.startswith("adapted to 79 characters")
    monkeypatch.setattr("charrnn.commands.sample_output.LONG", 70)
    again = command("sample", chain_run, *words, stdin=b"abcdxyz" * 20)
    assert again.err.startswith("adapting to - ...\nadapted to 79 characters")


def test_a_text_that_was_learned_is_continued_unless_there_is_a_prime(command, alphabet_run):
    line = ("sample", alphabet_run, "--adapt", "seen.txt", "--temp", 0, "--length", 3, "--json")
    Path("seen.txt").write_text("abcdefghi" * 20, encoding="utf-8")
    primes = [json.loads(command(*line, *more).out)["prime"] for more in ((), ("--prime", ""))]
    assert primes == ["abcdefghi" * 20, ""]

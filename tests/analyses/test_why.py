"""Characters that are left out: the same as a text without them, and sums that are exact.

Tests `analyses.why`.
"""

import numpy as np
import pytest
import torch
from effects_networks import (
    ARCHITECTURES,
    CHARACTERS,
    H,
    V,
    make_config,
    make_network,
    tensors_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import charrnn
from charrnn.analyses.why.leaving_out import (
    NetworkReader,
    Omissions,
    OutputParts,
    Prediction,
    StepperReader,
    read_without,
)
from charrnn.errors import DataError, UsageError
from charrnn.model.shapes import Architecture
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab

# Both sides are sums of a dozen float64 terms in another order: they differ by some 1e-16 per step.
EXACT = {"rtol": 1e-10, "atol": 1e-10}
# The same in float32, over a dozen steps.
ROUNDED = {"rtol": 1e-3, "atol": 1e-4}
T, P = 12, 2
every_architecture = pytest.mark.parametrize("cell, depth", ARCHITECTURES)


def make_texts(num_chars=T, num_texts=P, seed=0):
    return np.random.default_rng(seed).integers(0, V, (num_chars, num_texts))


def logits_of(network, ids):
    """The logits (V,) after ids, read from the initial state in one pass."""
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(np.asarray(ids))[:, None], network.initial_state(1))
    return logits[-1, 0].numpy()


def leave_out(reader, texts, num_left_out):
    """What the layers hand to each other, (L, P + R, H), for each of the last characters."""
    omissions = Omissions.of_last(len(texts), num_left_out, num_texts=texts.shape[1])
    return read_without(reader, texts, omissions)


def predict(network, texts, num_left_out, config):
    """The prediction, whose rows are first the texts, and then the readings without a character:
    those of all texts without their first one, without their second, and so on."""
    reader = NetworkReader(network)
    joined = leave_out(reader, texts, num_left_out)
    parts = OutputParts.of(joined, Architecture(config), sums_outputs=config.sum_outputs)
    omissions = Omissions.of_last(len(texts), num_left_out, num_texts=texts.shape[1])
    return Prediction(
        parts, texts=omissions.texts, weight=reader.output_weight, bias=reader.output_bias
    )


@every_architecture
def test_leaving_a_character_out_is_reading_the_text_without_it(cell, depth, monkeypatch):
    # Several windows, the last of which is shorter.
    monkeypatch.setattr(NetworkReader, "window", 5)
    network = make_network(cell, depth)
    config = make_config(cell, depth)
    texts = make_texts()
    predicted = predict(network, texts, T - 1, config)
    by_text = predicted.logprobs.reshape(T, P, V)
    for number, ids in enumerate(texts.T):
        rows = [ids, *(np.delete(ids, place) for place in range(1, T))]
        naive = np.array([logits_of(network, row) for row in rows])
        naive -= np.log(np.exp(naive).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(by_text[:, number], naive, **EXACT)


@every_architecture
def test_a_stepper_reads_what_a_network_reads(cell, depth):
    network = make_network(cell, depth)
    stepper = Stepper(make_config(cell, depth), tensors_of(network))
    texts = make_texts()
    for num_left_out in (1, T):
        exact = leave_out(NetworkReader(network), texts, num_left_out)
        found = leave_out(StepperReader(stepper), texts, num_left_out)
        assert found.shape == exact.shape == (3, (num_left_out + 1) * P, H)
        np.testing.assert_allclose(found, exact, **ROUNDED)


@pytest.mark.parametrize("window", [1, 2, 5, 16])
def test_it_makes_no_difference_how_many_characters_are_read_at_once(window, monkeypatch):
    network = make_network("lstm", num_layers=1)
    texts = make_texts(num_chars=21, num_texts=3)
    # Of the first text two characters, of the second none, and of the third nearly all.
    omissions = Omissions.of([np.array([7, 20]), np.array([], int), np.arange(1, 21)])
    assert omissions.steps.tolist() == sorted(omissions.steps.tolist())
    monkeypatch.setattr(NetworkReader, "window", window)
    joined = read_without(NetworkReader(network), texts, omissions)[0]
    for row, (step, text) in enumerate(zip(*omissions, strict=True), start=3):
        ids = np.delete(texts[:, text], step)
        [expected] = read_without(NetworkReader(network), ids[:, None], Omissions.of([ids[:0]]))
        np.testing.assert_allclose(joined[row], expected[0], **EXACT)


@pytest.mark.parametrize("sum_outputs", [False, True])
@every_architecture
def test_all_terms_add_up_to_the_difference_of_the_logit(cell, depth, sum_outputs):
    network = make_network(cell, depth, sum_outputs=sum_outputs)
    config = make_config(cell, depth, sum_outputs=sum_outputs)
    texts = make_texts()
    predicted = predict(network, texts, T - 1, config)
    targets = np.array([1, 4])
    sums = predicted.terms(targets).sum(axis=(0, 2)).reshape(T - 1, P)
    for number, (ids, target) in enumerate(zip(texts.T, targets, strict=True)):
        whole = logits_of(network, ids)[target]
        for place in range(1, T):
            without = logits_of(network, np.delete(ids, place))[target]
            assert sums[place - 1, number] == pytest.approx(whole - without, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "depth, sum_outputs, layers, are_units",
    [
        ("stacked", False, (2,), True),
        ("dilated", False, (2,), True),
        ("residual", False, (0, 1, 2), True),
        ("stacked", True, (0, 1, 2), True),
        ("residual", True, (0, 1, 2), True),
        ("highway", False, (2,), False),
        ("attention", False, (2,), False),
        ("attention", True, (0, 1, 2), False),
        ("grid", False, (2,), False),
    ],
)
def test_a_term_belongs_to_a_unit_of_a_layer_or_to_an_entry_of_a_mixture(
    depth, sum_outputs, layers, are_units
):
    network = make_network("gru", depth, sum_outputs=sum_outputs)
    config = make_config("gru", depth, sum_outputs=sum_outputs)
    parts = predict(network, make_texts(), 3, config).parts
    assert (parts.layers, parts.are_units) == (layers, are_units)
    assert parts.vectors.shape == (len(layers), 4 * P, H)


@pytest.mark.parametrize("cell, depth", [("lstm", "residual"), ("gru", "stacked")])
def test_the_vectors_of_units_are_the_outputs_of_the_layers(cell, depth):
    network = make_network(cell, depth)
    texts = make_texts()
    parts = predict(network, texts, 3, make_config(cell, depth)).parts
    with torch.no_grad():
        (_, _, outputs), _ = network.trace(torch.from_numpy(texts), network.initial_state(P))
    last = outputs[-1].numpy().transpose(1, 0, 2)[list(parts.layers)]
    np.testing.assert_allclose(parts.vectors[:, :P], last, **EXACT)


def build_model(cell="lstm", depth="stacked", *, characters=("", *CHARACTERS[1:]), **changes):
    network = make_network(cell, depth, scale=0.5, **changes)
    arrays = {name: value.astype(np.float32) for name, value in tensors_of(network).items()}
    return charrnn.Model(
        make_config(cell, depth, **changes), Vocab("char", tuple(characters)), arrays, name="tiny"
    )


text_of_model = st.text(alphabet=CHARACTERS[1:], min_size=2, max_size=30)


@settings(max_examples=20)
@given(text=text_of_model, target=st.sampled_from(CHARACTERS[1:]), chars=st.integers(1, 40))
@pytest.mark.parametrize("depth", ["stacked", "dilated", "attention"])
def test_the_effects_are_those_of_predictions_after_other_texts(depth, text, target, chars):
    model = build_model(depth=depth)

    def probability(read):
        logits, _ = model.stepper.read(model.generator.encode_prime(read))
        weights = np.exp(logits[0].astype(np.float64))
        return weights[CHARACTERS.index(target)] / weights.sum()

    why = model.why(text, target, chars=chars)
    assert why.text == text[-chars:]
    assert why.num_read == len(text)
    assert why.probability == pytest.approx(probability(text), rel=1e-4)
    first = len(text) - len(why.effects)
    without = [probability(text[:place] + text[place + 1 :]) for place in range(first, len(text))]
    np.testing.assert_allclose(why.probabilities, without, rtol=1e-3)
    np.testing.assert_allclose(
        why.effects, np.log(why.probability) - np.log(without), rtol=1e-3, atol=1e-4
    )


def test_a_text_of_documents_is_read_from_the_beginning_of_its_last_document():
    model = build_model(characters=("", "\0", *CHARACTERS[2:]), documents="lines")
    why = model.why("eeee\0c\ne", "e")
    assert why.characters == ("c", "\n", "e")
    assert why.effects == pytest.approx(model.why("c\ne", "e").effects)
    assert len(model.why("c", "end").effects) == 1
    assert model.why("cc", "end").character == model.why("cc", "\0").character == "\0"
    for text in ("", "ee\0"):
        with pytest.raises(UsageError, match=r"has 0 characters.*at least 1"):
            model.why(text, "e")


def test_a_byte_is_named_as_predict_names_it(byte_run):
    model = charrnn.load(byte_run.path)
    why = model.why("zäb «mol".encode(), b"\xc3")
    assert why.character == "\\xc3"
    assert why.characters[:3] == ("z", "\\xc3", "\\xa4")
    assert why.text[:3] == "zÃ¤"
    same = model.why("zäb «mol".encode(), "\\xc3")
    assert same.probability == why.probability
    assert model.why(b"zzz", "z").character == "z"
    assert "bytes before" in why.sentence or "right before" in why.sentence
    with pytest.raises(UsageError, match=r"one byte.*\\xc3\\xa4"):
        model.why(b"zzz", "ä")


def test_the_most_likely_character_is_that_of_predict():
    model = build_model()
    [likeliest] = model.predict("bcbcb", top=1)
    for character in (None, "next"):
        why = model.why("bcbcb", character)
        assert why.character == likeliest.character
        # Of which the unknown symbol has a part.
        assert 0.5 * likeliest.probability < why.probability <= likeliest.probability


@pytest.mark.parametrize(
    "text, character, message",
    [
        ("b", "c", "has 1 character"),
        ("", "c", "has 0 characters.*at least 2"),
        ("bc", "", "one character"),
        ("bc", "bc", "'bc'; it must be one character, `next` or `end`"),
        ("bc", "end", "was not trained on documents"),
        ("bc", "\0", "was not trained on documents"),
        ("bc", b"b", "give a string"),
    ],
)
def test_a_character_that_cannot_be_explained_is_refused(text, character, message):
    model = build_model(characters=("", *'b"c\ne'))
    with pytest.raises(UsageError, match=message):
        model.why(text, character)


@pytest.mark.parametrize("chars", [0, 2001, 1.5])
def test_a_number_of_characters_is_limited(chars):
    with pytest.raises(UsageError, match=r"chars.*between 1 and 2000"):
        build_model().why("bcbc", "b", chars=chars)


def test_characters_that_the_model_lacks_are_refused_or_replaced_and_named():
    model = build_model()
    for text, character in (("bçb", "b"), ("bbb", "ç")):
        with pytest.raises(DataError, match="ç"):
            model.why(text, character)
    why = model.why("bçb", "ç", unknown="nearest")
    assert (why.character, why.text, why.replaced) == ("c", "bcb", {"ç": "c"})
    with pytest.raises(DataError, match="no single character is similar"):
        model.why("bbb", "x", unknown="nearest")


def test_the_strongest_come_first_and_have_their_two_largest_terms():
    why = build_model().why("ebcebceb" * 3, "b")
    every = why.strongest(24)
    effects = [abs(left_out.effect) for left_out in every]
    assert effects == sorted(effects, reverse=True)
    assert sorted(left_out.distance for left_out in every) == [*range(1, 25)]
    first = every[0]
    terms = why.terms[:, len(why.text) - first.distance]
    largest = np.sort(np.abs(terms), axis=None)[::-1][:2]
    assert [abs(carrier.term) for carrier in first.carriers] == largest.tolist()
    assert first.carriers[0].share == pytest.approx(first.carriers[0].term / terms.sum())

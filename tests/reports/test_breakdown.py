"""Loss by class and by position, and the losses of lines, equal loops. N characters, T time, B
windows."""

import numpy as np
import pytest
from effects_networks import make_ids
from hand_built import vocab_of
from naive_losses import make_network, naive_scores

from charrnn.errors import DataError
from charrnn.model.losses import CharLosses
from charrnn.reports import breakdown
from charrnn.text.vocab import Vocab

TEXT = "Der Prinz sprach: «Князь Андрей!» 戦争と平和 «١٢٣» é x² €\r\n\tÀ bientôt…\n"


def test_every_character_has_the_class_of_its_unicode_category():
    expected = {
        "aβжß": "lower case",
        "AΒЖǅ": "upper case",
        "戦و": "other letters",
        "\u0301": "combining marks",
        "7١²": "digits",
        " \t\u00a0\u3000": "spaces",
        "\n\r\u2028": "newlines",
        ".«…—": "punctuation",
        "€+🙂": "symbols",
        "\x07\u200b": "other characters",
        "\0": "ends of documents",
        "\udc80": "other bytes",
    }
    for characters, name in expected.items():
        assert {breakdown.class_name(character) for character in characters} == {name}
    assert breakdown.class_name("") == "unknown"


def test_the_loss_by_class_is_that_of_a_loop():
    text = (TEXT + "q") * 40
    vocab = Vocab("char", ("", *sorted(set(TEXT) - {"x"})))
    ids = vocab.encode(text)
    positions = np.arange(3, len(ids))
    losses = CharLosses(
        positions, np.random.default_rng(0).exponential(size=len(positions)).astype(np.float32)
    )
    by_name = {}
    for position, nats in zip(positions, losses.nats, strict=True):
        character = text[position] if ids[position] else ""
        by_name.setdefault(breakdown.class_name(character), []).append(float(nats))
    groups = breakdown.sums_by_class(losses, vocab, ids).groups()
    assert [group.name for group in groups] == [
        name for name in breakdown.CLASSES if name in by_name
    ]
    for group in groups:
        assert group.num_chars == len(by_name[group.name])
        assert group.nats_per_char == pytest.approx(np.mean(by_name[group.name]))
        assert group.share_of_loss == pytest.approx(sum(by_name[group.name]) / losses.nats.sum())
        assert group.nats_ci[0] < group.nats_per_char < group.nats_ci[1]
    assert "unknown" in by_name


def test_a_byte_above_127_has_a_class_of_its_own_and_a_class_in_few_places_no_interval():
    vocab = Vocab.of_bytes()
    ids = vocab.encode("aé\n".encode() * 20)
    groups = breakdown.sums_by_class(
        CharLosses(np.arange(80), np.ones(80, np.float32)), vocab, ids
    ).groups()
    assert {one.name: one.num_chars for one in groups} == {
        "lower case": 20,
        "newlines": 20,
        "other bytes": 40,
    }
    vocab = vocab_of("ab7", min_count=1)
    ids = vocab.encode("ab" * 1000 + "7" * 100 + "ab" * 1000)
    losses = CharLosses(np.arange(1, len(ids)), np.ones(len(ids) - 1, np.float32))
    letters, digits = breakdown.sums_by_class(losses, vocab, ids).groups()
    assert (letters.nats_ci, digits.nats_ci, digits.num_chars) == ((1.0, 1.0), None, 100)
    doubled = CharLosses(losses.positions, 2 * losses.nats)
    compared, _ = breakdown.sums_by_class(doubled, vocab, ids).groups(
        breakdown.sums_by_class(losses, vocab, ids)
    )
    assert (
        compared.difference is not None
        and compared.difference.mean == compared.difference.low == 1.0
    )


def test_the_state_holds_what_was_read_since_the_last_end():
    ids = np.array([[3, 0], [0, 4], [5, 5], [0, 0], [0, 6]])
    assert breakdown.num_read_since_end(ids, None).T.tolist() == [[1, 2, 3, 4, 5]] * 2
    assert breakdown.num_read_since_end(ids, 0).T.tolist() == [[1, 1, 2, 1, 1], [1, 2, 3, 1, 2]]


def test_the_loss_by_position_equals_windows_read_one_by_one(monkeypatch):
    monkeypatch.setattr(breakdown, "NUM_POSITION_WINDOWS", 90)
    network, ids = make_network("gru"), make_ids(400)
    length = breakdown.context_length(len(ids))
    assert length == 16
    starts = [window * (len(ids) - length) // 90 for window in range(90)]
    by_position = np.array(
        [naive_scores(network, ids[start : start + length + 1], 1)[0] for start in starts]
    )
    groups = breakdown.sums_by_position(network, ids, precision="fp32").groups()
    assert [group.num_chars for group in groups] == [90, 90, 180, 360, 720]
    for group, (begin, end) in zip(groups, ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16)), strict=True):
        assert group.nats_per_char == pytest.approx(by_position[:, begin:end].mean(), abs=1e-6)
        assert group.nats_ci is not None


def test_windows_are_as_long_as_twenty_fit():
    expected = {160: 16, 639: 16, 640: 32, 20_479: 512, 20_480: 1024}
    assert {num_chars: breakdown.context_length(num_chars) for num_chars in expected} == expected
    with pytest.raises(DataError, match="159 characters; loss by position needs at least 160"):
        breakdown.context_length(159)

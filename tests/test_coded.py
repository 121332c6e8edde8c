"""`evaluate --coded`: the size of a real file beside the loss that is computed without the
coder."""

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from conftest import TrainedRun
from environment import REPOSITORY
from fixture_types import Command
from synthetic import SyntheticCorpus

from charrnn import api
from charrnn.errors import DataError, UsageError
from charrnn.formats.crnn import coded, container, rows
from charrnn.formats.crnn.command import compress_text
from charrnn.generation.distribution import log_softmax

OPTIONS: dict[str, Any] = {"part": "validation", "precision": "auto", "max_chars": 300}


def assert_equal_sizes(found: coded.CodedLoss) -> None:
    """A row has as many bytes as its code length needs; one less if the last would be zero."""
    assert 0 <= found.computed_bytes - found.coded_bytes <= found.num_rows
    assert found.difference == found.coded_bytes / found.computed_bytes - 1


def test_a_file_has_the_computed_size(
    command: Command, lstm: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = command("evaluate", lstm.path, "--coded", "--chars", "300", "--json")
    assert ran.code == 0, ran.err
    model = api.load(lstm.path)
    printed = json.loads(ran.out)
    found = coded.CodedLoss(**printed["coded"])
    assert printed == {"part": "validation", "coded": asdict(found)}
    assert_equal_sizes(found)
    text = model.held_out_text()[0][:300]
    assert isinstance(text, str)
    assert (found.run, found.num_rows, found.num_escaped) == ("lstm-001", 1, 0)
    assert (found.num_chars, found.file_bytes) == (300, len(compress_text(model, text.encode())))
    # One row, read from the prime that stands for an empty one; its loss is that of the int8
    # weights.
    nats = -log_softmax(steps(model, "\n" + text[:-1]))[np.arange(300), model.vocab.encode(text)]
    assert found.computed_bpc == pytest.approx(float(nats.mean()) / math.log(2), rel=1e-9)
    assert found.coded_bpc == 8 * found.coded_bytes / 300
    assert any(str(found.computed_bytes) in str(cell) for cell in found.view()[0].columns[1].cells)
    monkeypatch.setattr(coded, "log_softmax", lambda logits: log_softmax(logits) - 0.05)
    wrong = coded.coded([model], **OPTIONS)
    assert wrong.coded_bytes == found.coded_bytes
    assert wrong.computed_bytes == pytest.approx(
        found.computed_bytes + 300 * 0.05 / math.log(2) / 8, abs=1
    )
    assert wrong.difference < -0.001


def steps(model: api.Model, text: str) -> Any:
    """Return the logits (N, V) after each character of a text."""
    stepper, found = model.generator.int8_stepper, []
    state = stepper.initial_state(1)
    for id in model.vocab.encode(text):
        logits, state = stepper.step(np.array([id]), state)
        found.append(logits[0])
    return np.array(found)


def test_characters_outside_the_alphabet_and_several_rows_are_counted(
    gru: TrainedRun, corpus: SyntheticCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.formats.crnn.container.LEAST_ROW_BYTES", 200)
    model, text = api.load(gru.path), corpus.text[:400] + "éé\U0001f300" + corpus.text[400:500]
    found = coded.coded([model], text, **{**OPTIONS, "max_chars": 503})
    assert (found.num_rows, found.num_chars, found.num_escaped) == (2, 500, 8)
    assert_equal_sizes(found)


def test_the_example_of_the_format_is_that_of_the_code() -> None:
    page = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    examples = map(bytes.fromhex, re.findall(r"```\n((?:[0-9a-f]{2}\s)+)```", page))
    frequencies = rows.frequencies(np.array([[0, 1, 2, -1]], np.float32))
    assert all(str(one) in page for one in frequencies[0].tolist())

    class Coder(rows.RowCoder):
        def __init__(self) -> None: ...

        def encode(self, texts: Sequence[bytes]) -> list[bytes | None]:
            symbols = ["abcd".find(chr(byte)) if byte < 0x80 else -1 - byte for byte in texts[0]]
            encoder = rows.RangeEncoder()
            coding = rows.code_row(encoder, symbols, len(symbols), np.ones(4, np.int64), self.order)
            next(coding)
            with pytest.raises(StopIteration):
                while True:
                    coding.send(np.cumsum(frequencies))
            return [encoder.finish()]

    for text, order, example in zip(
        ("6362e961", "6362636263626163"), (0, 1), examples, strict=True
    ):
        header = container.Header(bytes(range(32)), b"", order)
        assert (
            b"".join(container.compress(Coder(), header, io.BytesIO(bytes.fromhex(text))))
            == example
        )


def test_what_cannot_be_compared_is_refused(lstm: TrainedRun, gru: TrainedRun) -> None:
    model = api.load(lstm.path)
    with pytest.raises(UsageError, match="there are 2: give one"):
        coded.coded([model, api.load(gru.path)], **OPTIONS)
    with pytest.raises(DataError, match="lstm-001 does not make this text smaller"):
        coded.coded([model], "éß" * 20, **OPTIONS)
    model.config = replace(model.config, cell="unitary")
    with pytest.raises(UsageError, match="might not open on another machine"):
        coded.coded([model], **OPTIONS)

"""Bits per byte of compressors: what a text adds to the compressed training text."""

import lzma
import random

import pytest

from charrnn.lab.ngrams import COMPRESSORS, Compressor
from charrnn.progress import CallbackProgress, Task, using

WORDS = ["count", "cell", "gate", "quote", "line", "state", "carry", "forget", "recall", "write"]
XZ, PPMD = COMPRESSORS


def words(num: int, seed: int) -> bytes:
    return " ".join(random.Random(seed).choices(WORDS, k=num)).encode()


@pytest.fixture(params=COMPRESSORS, ids=lambda compressor: compressor.name)
def compressor(request: pytest.FixtureRequest) -> Compressor:
    if not request.param.is_installed:
        pytest.skip(f"{request.param.package} is not installed")
    return request.param  # type: ignore[no-any-return]


def test_random_bytes_cost_8_bits_and_a_copy_costs_nearly_nothing(compressor: Compressor) -> None:
    training, other = random.Random(1).randbytes(20_000), random.Random(2).randbytes(20_000)
    assert 7.9 < compressor.bits_per_byte(training, other) < 8.4
    # PPMd codes each character, with a probability near 1; xz codes one long match.
    assert compressor.bits_per_byte(training, training[5_000:9_000]) < 1


def test_words_cost_about_their_entropy(compressor: Compressor) -> None:
    """log2(10) bits for each word and the space after it, 5.7 bytes in the mean: 0.59 bits per byte."""
    bits = compressor.bits_per_byte(words(20_000, 1), words(4_000, 2))
    assert 0.58 < bits < 1.2


def test_text_like_the_training_text_costs_less_than_alone(compressor: Compressor) -> None:
    text = words(40, 3)
    assert compressor.bits_per_byte(words(2_000, 1), text) < 0.7 * compressor.bits_per_byte(b"", text)


def test_every_byte_is_reported_and_an_empty_text_refused(compressor: Compressor) -> None:
    done: list[int] = []
    with using(CallbackProgress(lambda reading: done.append(reading.total - reading.done))):
        compressor.bits_per_byte(words(30_000, 1), words(1_000, 2))
    assert done[-1] == 0 and len(done) > 3
    with pytest.raises(ValueError, match="nothing"):
        compressor.bits_per_byte(b"text", b"")


def test_xz_finds_what_its_preset_finds() -> None:
    """The dictionary of the preset is longer than the text, and so no better."""
    training, text = words(20_000, 1), words(4_000, 2)
    sizes = [len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) for data in (training, training + text)]
    # xz rounds the sizes of its files up to 4 bytes.
    assert abs(XZ.added_bytes(training, text, Task("")) - (sizes[1] - sizes[0])) <= 4

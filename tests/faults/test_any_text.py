"""Any bytes as a text: they are used, with composed letters, or refused with one line that names the
position and the remedy."""

import codecs
import json
import re
import unicodedata

import numpy as np
import pytest
from hand_built import vocab_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from read_texts import read_corpus

from charrnn.errors import DataError
from charrnn.text.corpus import MIN_LENGTH
from charrnn.text.vocab import MAX_CHARACTERS, UNKNOWN, Decoder, Vocab

NASTY = (
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"\0",
    b"\r\n",
    b"\r",
    codecs.BOM_UTF8,
)
NASTY += (
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
    codecs.BOM_UTF32_LE,
    b"\x1b[2J",
    b"\x9b",
    b"\x85",
    b"\xe2\x80\xa8",
)
MULTIBYTE = (
    "🙂👩\u200d👩\u200d👧",
    "e\u0301\u0323",
    "שלום עולם ",
    "\u202eabc\u202c",
    "語學",
    "\U0010ffff",
    "\ufeff",
)
MULTIBYTE += ("İıſß", "ﷺ")
PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(NASTY),
    st.sampled_from([piece.encode() for piece in MULTIBYTE]),
    st.text(st.characters(codec="utf-8"), max_size=8).map(str.encode),
    st.sampled_from([b"the lamb ", b"line\n", b"a" * 20]),
)
CONTENT = st.lists(PIECES, max_size=12).map(b"".join)
ANY = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
REMEDY = re.compile(
    r"alphabet[ =]byte|encoding[ =]utf-(16|32)|is empty|at least (16|2)|has no file"
)


UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\u00ad\u200b\u200e\u200f\u2060\ufeff]")
"""Characters that nobody sees."""


def check_bytes(path, content):
    """The byte alphabet takes anything that is long enough, and gives it back."""
    path.write_bytes(content)
    try:
        corpus = read_corpus([str(path)], alphabet="byte")
    except DataError as error:
        assert len(content) < MIN_LENGTH or len(set(content)) == 1
        assert REMEDY.search(str(error)) and "\n" not in str(error)
        return
    assert corpus.content == content
    vocab = Vocab.of_bytes()
    ids = vocab.encode(corpus.content)
    assert bytes(ids.astype(np.uint8)) == content and len(vocab) == 256
    decoder = Decoder(vocab)
    assert (
        "".join(map(decoder.feed, ids)) + decoder.finish()
        == vocab.decode(ids)
        == content.decode("utf-8", "replace")
    )


def check_characters(path, content):
    """The character alphabet takes text, and refuses what is none."""
    path.write_bytes(content)
    text, fault = "", None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        fault = error.start
    usual = text.removeprefix("\ufeff").replace("\r\n", "\n")
    usual = UNSEEN.sub("", re.sub("(?<=[^\n])[\x0b\x0c]+(?=[^\n])", "\n", usual))
    try:
        corpus = read_corpus([str(path)], alphabet="char")
    except DataError as error:
        message = str(error)
        assert REMEDY.search(message)
        assert "\n" not in message
        assert message.startswith(str(path))
        # By its mark, a text is in another encoding.
        if not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
            is_short = len(usual) < 40 or len(set(usual)) < 2
            assert fault is not None or "\0" in text or "\x1b$" in text or is_short
        return
    assert fault is None
    assert text.count("\0") <= len(content) / 100
    assert corpus.content == unicodedata.normalize("NFC", usual)
    try:
        vocab = vocab_of(corpus.content)
    except DataError as error:
        assert "min_count=1" in str(error) and "alphabet=byte" in str(error)
        return
    assert Vocab.from_json(json.loads(json.dumps(vocab.to_json()))) == vocab
    spelled = vocab.decode(vocab.encode(corpus.content))
    assert len(spelled) == len(corpus.content) and len(vocab) <= MAX_CHARACTERS
    known = set(vocab.characters) - {UNKNOWN}
    assert all(
        a == b if b in known else a == "\ufffd"
        for a, b in zip(spelled, corpus.content, strict=True)
    )


@pytest.mark.slow
@given(content=CONTENT)
@settings(ANY, max_examples=30)
def test_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    check_bytes(path, content)
    check_characters(path, content)

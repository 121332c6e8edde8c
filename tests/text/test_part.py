"""Parts of a corpus that is never decoded as a whole: measured, shown and compared as a text in
memory is."""

import pytest
from conftest import SMALL_RUN
from read_texts import read_corpus

import charrnn
from charrnn.reports.provenance import find_passages
from charrnn.text import copies
from charrnn.text.corpus import Corpus, CorpusPart
from charrnn.text.vocab import Vocab

TEXT = "the lamp by the river was lit\nand the stone was cold — ж\n" * 90


def make_part(folder, alphabet, begin, end):
    path = folder / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    vocab = (
        Vocab("char", ("", *sorted(set("abcdehilmnoprstvwy \n"))))
        if alphabet == "char"
        else Vocab.of_bytes()
    )
    return CorpusPart(
        read_corpus([str(path)], alphabet=alphabet, vocab=vocab, extend_alphabet=False), begin, end
    )


@pytest.mark.parametrize("alphabet", ["char", "byte"])
def test_a_part_is_sliced_like_the_text_that_it_is_part_of(alphabet, tmp_path):
    part = make_part(tmp_path, alphabet, 100, 700)
    whole = TEXT if alphabet == "char" else TEXT.encode()
    expected = whole[100:700]
    assert len(part) == 600
    assert part[:] == expected
    for chars in (slice(5), slice(5, 9), slice(-3, None), slice(9, 5), slice(590, 9_999)):
        assert part[chars] == expected[chars]
    assert part.context == whole[:100]
    assert len(part.ids) == 700
    assert part.num_bytes == len(expected if isinstance(expected, bytes) else expected.encode())


@pytest.mark.parametrize("alphabet", ["char", "byte"])
def test_copies_from_a_part(alphabet, tmp_path, monkeypatch):
    part = make_part(tmp_path, alphabet, 100, 2_000)
    whole = part[:]
    asked = (
        "river was lit\nand the stone was cold — ж\nthe lamp, and more of its own; by the river was"
    )
    if isinstance(whole, bytes):
        asked = str(asked).encode()
    expected = find_passages(asked, whole, min_length=10).tolist()
    assert expected
    monkeypatch.setattr(copies, "BLOCK_CHARS", 64)
    assert find_passages(asked, part, min_length=10).tolist() == expected


@pytest.mark.trained
def test_no_command_decodes_the_whole_corpus(command, tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    config = charrnn.Config(corpus=("text.txt",), split=(0.3, 0.7), **{**SMALL_RUN, "steps": 1})
    list(charrnn.train(config, out=tmp_path / "run"))
    lengths = []
    decode = Corpus.text

    def text(corpus, begin=0, end=None):
        decoded = decode(corpus, begin, end)
        lengths.append(len(decoded))
        return decoded

    monkeypatch.setattr(Corpus, "text", text)
    monkeypatch.setattr("charrnn.text.corpus.CONTEXT_CHARS", 600)
    monkeypatch.setattr("charrnn.text.corpus.BLOCK_BYTES", 500)
    monkeypatch.setattr("charrnn.text.copies.BLOCK_CHARS", 500)
    monkeypatch.setattr("charrnn.text.copies.SEGMENT_CHARS", 500)
    monkeypatch.setattr("charrnn.reports.provenance.HELD_OUT_CHARS", 400)
    monkeypatch.setattr("charrnn.commands.visualize.CHARS_SCORED", 600)
    for line in (
        "evaluate run",
        "visualize run --cell 0:1 --chars 300",
        "sample run --seed 0 --length 99 --trace",
    ):
        lengths.clear()
        ran = command(line)
        assert ran.code == 0, ran.err
        assert max(lengths, default=0) <= 600, line

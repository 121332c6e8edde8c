"""Lines of wrapped paragraphs are joined, and nothing else is."""

import textwrap
from pathlib import Path

import pytest

import charrnn
from charrnn.cli.arguments import read_text_corpus
from charrnn.config.settings import Config
from charrnn.text.paragraphs import join_lines
from charrnn.text.text_files import Line, split_lines

SENTENCES = (
    "The lamp by the river was lit again, and the boats that had come with the rain lay still. "
    "Nobody asked where the captain had gone, although the house was full of people and the "
    "evening was long enough for every story. "
) * 2
WRAPPED = textwrap.fill(SENTENCES.strip(), 70)
VERSE = "Shall I compare thee to a lamp at night\nThou art more bright and steadier than the moon"
CODE = "    if lamp.is_lit:\n        lamp.put_out(after=minutes, because=morning, and_then=rest)"

HEXAMETERS = "".join(f"{line}\n" for line in (
    "Sing of the lamp by the river that waited the whole of the winter",
    "Burning alone when the boats of the strangers had gone in the morning",
    "Nobody asked where the captain and all of his people were sleeping",
    "Rain on the roofs of the houses and rain on the roads to the harbour",
    "Late in the evening a stranger came up from the sea with a lantern",
    "Silent he stood by the gate and he looked at the light in the window",
))  # fmt: skip
COUPLET = "".join(f"{line}\n" for line in HEXAMETERS.splitlines()[1:3]).replace("g\n", "g,\n")
IDEOGRAPHS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳"
ITEM = "the lamp by the river was lit again and the boats lay still in the rain"
LISTS = (
    f"- {ITEM}\n- {ITEM}\n- {ITEM}\n",
    f"1. {ITEM}\n2. {ITEM}\n",
    f"a) {ITEM}\nb) {ITEM}\n",
    f"12 {ITEM}\n13 {ITEM}\n",
    f"> {ITEM}\n> {ITEM}\n{ITEM}\n",
    f"| {ITEM} | one |\n| {ITEM} | two |\n",
    f"the lamp by the river {'.' * 40} 12\nthe boats that lay still {'.' * 38} 14\n",
    f"{ITEM * 3}\n{ITEM}\n",
    f"(iv) {ITEM}\n(ix) {ITEM}\n",
    f"§ 1 {ITEM}\n§ 2 {ITEM}\n",
    f"—{ITEM}\n—{ITEM}\n",
    f"{'=' * 66}\n{ITEM}\n{'-' * 66}\n{ITEM}\n",
    f"{ITEM}\tone\n{ITEM}\ttwo\n",
    f"{ITEM}    one\n{ITEM}    two\n",
    f"{'http://a.b/' * 6}c\n{'http://a.b/' * 6}d\n",
    f"one {ITEM};\ntwo {ITEM};\nten {ITEM};\n",
    f"The river …………… 12\n{ITEM} …………… 14\n",
)


def joined(text, *, size=None):
    """Join a text that is given in blocks of so many lines."""
    lines = text.splitlines(keepends=True)
    size = size or len(lines)
    blocks = ["".join(lines[begin : begin + size]) for begin in range(0, len(lines), size)]
    numbered = split_lines([Line(1, "".join(blocks))])
    return "".join(line.content for line in join_lines(numbered))


@pytest.mark.parametrize("size", [None, 1, 3])
@pytest.mark.parametrize(
    "text, expected",
    [
        (f"{WRAPPED}\n", f"{SENTENCES.strip()}\n"),
        (f"{WRAPPED}\n\n{WRAPPED}\n", f"{SENTENCES.strip()}\n\n{SENTENCES.strip()}\n"),
        (f"  {WRAPPED}\n  {WRAPPED}\n", f"  {SENTENCES.strip()}\n  {SENTENCES.strip()}\n"),
        (f"{VERSE}\n\n\n{VERSE}\n", f"{VERSE}\n\n\n{VERSE}\n"),
        (f"{CODE}\n", f"{CODE}\n"),
        (HEXAMETERS, HEXAMETERS),
        (COUPLET, COUPLET),
        (f"{IDEOGRAPHS}，\n{IDEOGRAPHS}\n", f"{IDEOGRAPHS}，{IDEOGRAPHS}\n"),
        (f"{IDEOGRAPHS}\nlamp {IDEOGRAPHS}\n", f"{IDEOGRAPHS} lamp {IDEOGRAPHS}\n"),
        *((text, text) for text in LISTS),
        (f"- {WRAPPED}\n- {WRAPPED}\n", f"- {SENTENCES.strip()}\n- {SENTENCES.strip()}\n"),
        (f"lamp {'a' * 30}—\n{'b' * 60}\n", f"lamp {'a' * 30}—{'b' * 60}\n"),
    ],
)
def test_only_the_lines_of_wrapped_paragraphs_are_joined(text, expected, size):
    assert joined(text, size=size) == expected


def test_every_command_reads_a_text_as_the_run_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text(f"{WRAPPED}\n\n" * 20, "utf-8")
    config = Config(corpus=("book.txt",), join_lines=True, hidden_size=4, steps=2)
    list(charrnn.train(config, out=Path("run")))
    whole = f"{SENTENCES.strip()}\n\n" * 20
    model = charrnn.load("run")
    parts = [part[:] for part in model.read_parts()]
    assert "".join(parts) == whole
    assert read_text_corpus("book.txt", model.config).content == whole
    assert [event.event for event in charrnn.resume("run", {"steps": 3})][-1] == "done"

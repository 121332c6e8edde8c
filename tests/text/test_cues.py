"""A cue of subtitles is a line, whatever stands around it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from read_texts import read_corpus

pytestmark = pytest.mark.usefixtures("here")


def read(content, name="film", **options):
    Path(name).write_text(content)
    return read_corpus([name], is_for_training=False, **options)


def time_of(second, mark):
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}{mark}000"


def srt(*cues, begin=1):
    parts = []
    for number, cue in enumerate(cues, begin):
        times = f"{time_of(2 * number, ',')} --> {time_of(2 * number + 2, ',')}"
        parts.append(f"{number}\n{times}\n{cue}\n\n")
    return "".join(parts)


def vtt(*cues, head=""):
    parts = [f"WEBVTT{head}\n\n"]
    for number, cue in enumerate(cues):
        times = f"{time_of(2 * number, '.')} --> {time_of(2 * number + 2, '.')}"
        parts.append(f"{times} align:start\n{cue}\n\n")
    return "".join(parts)


def sbv(*cues):
    return "".join(
        f"{time_of(2 * number, '.')[1:]},{time_of(2 * number + 2, '.')[1:]}\n{cue}\n\n"
        for number, cue in enumerate(cues)
    )


def test_a_cue_is_a_line_and_keeps_its_places():
    content = srt("<i>It rains</i>\nat night.", "It was\n1984")
    corpus = read(content)
    assert corpus.content == "It rains at night.\nIt was 1984\n"
    indices = np.array([corpus.content.index(word) for word in ("rains", "at", "was", "1984")])
    assert [place.line for place in corpus.places(indices)] == [3, 4, 8, 9]
    assert read(content, clean=False).content == content
    assert "the numbers and times of subtitles" in corpus.notes[-1]


@pytest.mark.parametrize(
    "cue, said",
    [
        ("- Where is it?\n- Here.", ["- Where is it?", "- Here."]),
        ("– Where is\nit?\n–Here.", ["– Where is it?", "–Here."]),
        ("ANA: Come in.\nOLD BEN: No, {\\an8}thanks.", ["ANA: Come in.", "OLD BEN: No, thanks."]),
        (">> Good\nevening.\n>> Hello.", [">> Good evening.", ">> Hello."]),
        ("A sentence that\ngoes on.", ["A sentence that goes on."]),
        ("It is one\n- or the other.", ["It is one - or the other."]),
        ("He said:\nit is 10:30 now.", ["He said: it is 10:30 now."]),
    ],
)
def test_each_of_several_speakers_of_a_cue_has_a_line(cue, said):
    for content in (srt(cue, "Then."), vtt(cue, "Then.")):
        assert str(read(content).content).splitlines() == [*said, "Then."]
    assert str(read(srt(cue), documents="lines", order="sorted").content) == "\0".join([*said, ""])


@pytest.mark.parametrize(
    "cue, text",
    [
        ('<I>It</I> <FONT COLOR="#fff">rains</FONT>', "It rains"),
        ("<v Ana Berg>It rains</v>", "Ana Berg: It rains"),
        ("<v.loud Ana>It rains\nat night", "Ana: It rains at night"),
        ("<v Ana>It rains</v>\n<v Ben>Stay", "Ana: It rains\nBen: Stay"),
        ("<c.yellow>It</c> <00:00:01.000>rains &amp; &lt;so&gt; on", "It rains & <so> on"),
        ("{\\an8}It rains", "It rains"),
        ("a <b and c> d", "a <b and c> d"),
        ("Ana Berg: It rains", "Ana Berg: It rains"),
        ("河の音が\n聞こえる", "河の音が聞こえる"),
    ],
)
def test_marks_of_a_cue_are_left_out_and_a_voice_is_a_name(cue, text):
    others = ("One.", "Two two.", "Three.")
    expected = "\n".join((text, *others)) + "\n"
    assert read(srt(cue, *others)).content == expected
    assert read(vtt(cue, *others)).content == expected


def test_styles_notes_and_names_of_cues_are_left_out():
    head = " - A title\nKind: captions\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000"
    content = vtt("One.", head=head)
    content += "STYLE\n::cue {\n color: red;\n}\n\nREGION\nid:a\n\nNOTE\nmade by\na machine\n\n"
    content += "intro-0\n00:04.000 --> 00:05.000\nTwo.\n"
    assert read(content).content == "One.\nTwo.\n"


def test_automatic_captions_are_written_once():
    said = [f"line {number} of it" for number in range(30)]
    rolled = [f"{said[n - 1] if n else ' '}\n{said[n]}" for n in range(30)]
    words = [cue.replace("of", "<00:00:01.000><c>of</c>") for cue in rolled]
    growing = [" ".join(text.split()[:end]) for text in said for end in (2, 3, 4)]
    for cues in (rolled, words, growing):
        assert read(vtt(*cues)).content == "".join(f"{line}\n" for line in said)
    # What is said twice in a film stands there twice.
    assert read(srt("No.", "No.", "Yes.", "So.", "Go.", "Ah.")).content.count("No.") == 2


def test_a_film_is_a_document_of_its_folder():
    Path("films").mkdir()
    Path("films/a.srt").write_text(srt("One.", "Two."))
    Path("films/b.sbv").write_text(sbv("Three.", "Four[br]five."))
    corpus = read_corpus(["films"], documents="files", order="sorted")
    assert sorted(str(corpus.content).split("\0")) == ["", "One.\nTwo.", "Three.\nFour five."]
    Path("films/c.srt").write_text(srt("", ""))
    corpus = read_corpus(["films"], documents="lines", order="sorted")
    assert sorted(str(corpus.content).split("\0")) == ["", "Four five.", "One.", "Three.", "Two."]
    assert "skipped in films: 1 file (c.srt" in corpus.notes[0]


def test_a_damaged_cue_keeps_its_words():
    said = [f"word {number}" for number in range(9)]
    said[5] = "a --> b\nand 12:30 --> 14:00"
    whole = srt(*said)
    films = (
        # A cue has no number.
        whole.replace("\n3\n", "\n"),
        # None is parted from the next.
        whole.replace("\n\n", "\n"),
        # A number is damaged.
        whole.replace("\n3\n", "\nx3\n"),
        # A time is damaged.
        whole.replace("00:00:08,000 -->", "00:00:xx,000 -->"),
        # Blanks stand in a time.
        whole.replace("00:0", "00: 0"),
        # A time is missing.
        whole.replace("--> 00:00:08,000", "-->"),
        # Blanks stand around.
        whole.replace("00\n", "00 \n").replace("\n00", " \n \n 00"),
        # A time of captions is damaged.
        vtt(*said).replace("00:00:08.000 -->", "00:00:x8.000 -->"),
        # Captions have no blank lines.
        vtt(*said).replace("\n\n", "\n"),
        # A blank line is in a cue.
        sbv(*said).replace("word 7", "word\n\n7"),
    )
    for film in films:
        read_words = str(read(film).content).replace(" x3", "")
        assert read_words == "".join(" ".join(cue.split()) + "\n" for cue in said)


@pytest.mark.parametrize("text", ["1\n2\n3 --> 4 of them\n", "WEBVTT is a format.\n\n1984\n"])
def test_what_looks_a_little_like_subtitles_stays(text):
    assert read(text * 9).content == text * 9


WORDS = st.lists(st.text("abcäø<>&;лё{", min_size=1, max_size=6), min_size=1, max_size=5).map(
    " ".join
)
CUES = st.lists(st.lists(WORDS, min_size=1, max_size=2), min_size=1, max_size=6)


def check_cues(cues):
    # None begins as the one before ends, or they would roll up.
    cues = [[f"{number} {first}", *rest] for number, (first, *rest) in enumerate(cues)]
    texts = ["\n".join(lines) for lines in cues]
    escaped = [
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for text in texts
    ]
    expected = "".join(" ".join(lines) + "\n" for lines in cues)
    for written in (srt(*escaped), vtt(*escaped), sbv(*escaped)):
        assert read(written).content == expected


@settings(max_examples=30)
@given(CUES)
def test_cues_of_known_text_lose_and_add_nothing(cues):
    check_cues(cues)


@pytest.mark.thorough
@settings(max_examples=300)
@given(CUES)
def test_many_cues_of_known_text_lose_and_add_nothing(cues):
    check_cues(cues)

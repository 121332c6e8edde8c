"""What a cell might keep track of, a label under each character: what holds after reading it
(`labelled`).

Tests `detectors.detector`, `detectors.notations` and `detectors.prose`, too.
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import check, label, rows

from charrnn.detectors.detector import MIN_POSITIVES, MIN_SPANS, why_not_scored
from charrnn.detectors.registry import DETECTORS, get_detectors

EXAMPLES = settings(max_examples=20)
ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates included
MIXED = st.text(st.sampled_from(list("abAB01_.,'’\"“” \t\r\n:-é\u0301\ud800\x00")), max_size=50)
SOURCE = "import os\nimport sys\n"
LATEX = "\\begin{document}\n\\section{Lamps}\n\n" * 3
PLAY = "ANN:\nIs it lit?\n\nSecond Miller:\nNo.\n\n" * 3
PROSE = "She said (quietly): 'it is late'.\nNobody # spoke.\n"
TABLES = {
    "quote": """
He said "wait" twice.¶
........QQQQQ.........  from the opening mark to before the closing one
“One “two” three” four
QQQQQQQQQ.............  a curly mark says which way
“One" two "three” four
QQQQ......QQQQQQ......  either closes the other
So: "". "a"
....Q...QQ.  an empty quotation
"One¶two" three¶
QQQQQQQQ........  over the end of a line
"One,¶¶two "three" four
QQQQQ?.....QQQQQQ......  a blank line ends it
"One,¶ → ¶two "three"¶
QQQQQ????.....QQQQQQ..  so does a line of blanks
One.¶¶¶¶Two "three".¶
............QQQQQQ...  a blank line opens none
„One“ two “three” four »five« six «seven»
QQQQ......QQQQQQ.......QQQQQ......QQQQQQ.  the marks of other languages
It's 'so' ‘then’ "isn't it".¶
.................QQQQQQQQQ...  apostrophes are none
He said "wait
........QQQQQ  up to the end
”One” two „three” „four" »five» 「six」『seven』
QQQQ......QQQQQQ..QQQQQ..QQQQQ..QQQQ.QQQQQQ.  the marks of more languages
—»One«, « two » three » four « five »
.QQQQ...QQQQQQ...............QQQQQQQ.  and how they stand
One" two "three" four.
.........QQQQQQ.......  an opening mark was forgotten
"One two.¶She said "three" four.¶
QQQQQQQQQ..........QQQQQQ........  a closing one, with one paragraph a line
"One two.¶¶"Three" four.
QQQQQQQQQ?.QQQQQQ.......  the same with blank lines
A 6" pipe, "two" and 8" more.
...........QQQQ..............  inches
"It is 6" long," he said. "It is 6" he said.
QQQQQQQQQQQQQQQ...........QQQQQQQQ..........  inches in quotations
「One¶two.¶「Three」¶
QQQQ......QQQQQQ..  marks that only open
He said ("one," 'two') and "'three'" four.
.........QQQQQ.............QQQQQQQQ.......  brackets and apostrophes
אמר צה"ל "שלום" אמר.¶
.........QQQQQ.......  a mark between Hebrew letters is none
""",
    "line-position": """
¶→a¶by¶
0120120  each line from its start
""",
    "line-length": """
a¶by¶¶b
0010000  what is left of each line
""",
    "indentation": """
→→a¶ b¶ →
122211112  of the whole line, its newline included
""",
    "newline-next": """
a¶¶¶b
QQQ..  an empty line, and at the end nobody knows
""",
    "word-position": """
don't ‘so’ dogs' 'a'
12345001230123450012  an apostrophe belongs to its word
num_lines2=x1
123456789a012  names in source code
вода été हिन्दी
12340123450123456  letters of any script, with their marks
""",
    "capital": """
ROMEO: O MY
.QQQQ.....Q  from the second on, until the word ends
HTTPServer McDONALD
.QQQQ..............  a small letter ends it
MAX_2LONG I'M
.QQQQQQQQ...Q  digits, underscores and apostrophes do not
ВОДА Вода
.QQQ.....  capitals of any script
""",
    "digit": """
In 1812, 3 lamps.
...QQQQ..Q.......  all of its digits
1,234.50 and 10_000.
QQQQQQQQ.....QQQQQQ.  what separates digits
x=0x1fG 0b
..QQQQ..Q.  hexadecimal
5kg 1st 20%
Q...Q...QQ.  with a unit
x1 utf8 _3 a1.5
..............Q  digits of a name are none
""",
    "url": """
see http://a.b/c?d=1#e now
....QQQQQQQQQQQQQQQQQQ....  from its first character on
(https://a.b/c). ftp://d,
.QQQQQQQQQQQQQ...QQQQQQQ.  without the punctuation after it
https://a.b/c_(d), e
QQQQQQQQQQQQQQQQQ...  with brackets of its own
www.a.org or WWW.B.ORG¶
QQQQQQQQQ....QQQQQQQQQ.  without a scheme
"http://a.b" <https://c>
.QQQQQQQQQQ...QQQQQQQQQ.  up to a mark of quotation or markup
http:// a http:a awww.b x@www.c
...............................  nothing but a scheme
""",
    "speaker": """
ANN:¶Is it lit?¶
QQQ.............  the name, up to before its colon
First Citizen:¶KING RICHARD III:¶
QQQQQQQQQQQQQ..QQQQQQQQQQQQQQQQ..  several words
ANN: lit.¶So: ¶ Bob:¶
..........QQ.........  on a line of its own
he said:¶They all said it was:¶No, so:¶
.......................................  not a sentence
ANN:␍¶
QQQ...  before a carriage return
ANN:
QQQ.  at the end of the text
ANN¶
....  before the colon nobody is
""",
    "latex-math": r"""
so $x+1$ is¶
...QQQQ.....  between dollars
so $$x$$ is \[y\] and \(z\).
...QQQQ.....QQQQ......QQQQ..  display
$x$$y$ $$z$$$w$
QQ.QQ..QQQQ.QQ.  one formula right after another
\$5 and $\$5$ \\$x$
........QQQQ....QQ.  escaped dollars are none
a \\[2pt] b \\(c)
.................  a line break with a length opens nothing
a\begin{align*}x\end{align*}y
.QQQQQQQQQQQQQQQQQQQQQQQQQQ..  equations
\begin{math}x\mbox{if $y$}z\end{math}w
QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ..  dollars in an equation close nothing
\begin{quote}x\end{quote}
.........................  other environments are text
a % $b¶$c$ \% $d$¶
.......QQ.....QQ..  comments
\begin{verbatim}$a\end{verbatim} $b$
.................................QQ.  verbatim
\verb|$a| $b$¶
..........QQ..  verbatim on a line
$a¶b$ c
QQQQ...  over the end of a line
$a¶ ¶b $c$
QQQQ...QQ.  a blank line ends it
x\] $a$ \end{equation} $b$
....QQ.................QQ.  an end that was cut off
a $b
..QQ  up to the end
""",
    "string": """
f("a", 'b')  # c
..QQ...QQ.......  from the opening mark to before the closing one
""",
    "comment": """
f("a", 'b')  # c
.............QQQ  not a hash in a string
""",
    "bracket-depth": """
f("a", [b])  # (
0111111221000000  outside strings and comments
""",
    "if-statement": """
if a:¶ f(b)¶c
QQQQQQQQQQQ..  its condition and its body
""",
    "open-rings": r"""
Oc1ccc(Cl)cc1¶C1
0011111111110001  from a number to the same number
C%12CC1%12[13CH3]C¶
0001112221111111110  of two digits, and not of an isotope
C1CCCCC%01C%(100)CC%100
01111111100000001111123  1 and %01 are one number, 100 has three digits, %10 two
""",
    "aromatic": r"""
CC(=O)c1ccc(Cl)cn1¶
......QQQQQQQ..QQQ.  from a small letter to the end of the next atom¶
c1c[nH]c1[C@@H]C[se]¶
QQQQQQQQQQQQQQ.....Q.  in square brackets¶
c1ccccc1*O¶
QQQQQQQQ...  any atom¶
""",
    "note": r"""
T:a c¶"Am"f2 z|^c,¶%e¶
..........Q..Q..Q.....  not in headers, chords and comments
[K:D]A !fff! B¶
.....Q.......Q.  not in fields and decorations
A|¶¶By Bea.¶A bed¶¶A|¶
Q..................Q..  not in the text between tunes
""",
    "bar-position": """
"G"AB c2|z [1dB:|¶c¶¶d
0001223301111233001101  since the bar line
""",
    "key": """
K:Em¶AB¶¶c
0001111100  until the tune ends
K: Bb¶a¶K:F#mix¶a
0000yyyyyyyyyy555  flats (y is -2), and a later key of another mode
K:Ephr¶K:Bloc¶K:Ddor¶K:Aaeo¶K:Flyd¶a
000000000000000000000000000000000000  of all modes on the white keys
""",
}
SCREENPLAY = "".join(
    f"INT. HOUSE - DAY\n\nThe lamp is lit.\n\n{name} (V.O.)\nIs it lit?\n\n"
    for name in ("ANN", "OLD BOB", "ANN", "OLD BOB")
)
OF_SOURCE = ("string", "comment", "bracket-depth", "if-statement")
OF_MOLECULES, OF_TUNES = ("open-rings", "aromatic"), ("note", "bar-position", "key")
HEADERS = {
    **dict.fromkeys(OF_SOURCE, SOURCE),
    **dict.fromkeys(OF_MOLECULES, "CC(=O)N\n" * 9),
    **dict.fromkeys(OF_TUNES, "K:C\n" + "A|\n" * 9 + "\n"),
    "latex-math": LATEX,
    "speaker": PLAY,
}
"""What a text begins with that is of the kind of a detector."""
NOT_EVERYWHERE = {
    **dict.fromkeys(OF_SOURCE, "this text is not source code"),
    "string": "this text is neither source code nor JSON",
    **dict.fromkeys(OF_MOLECULES, "this text is not SMILES"),
    **dict.fromkeys(OF_TUNES, "this text is not ABC"),
    "bracket-depth": "this text is neither source code nor JSON nor SMILES",
    "speaker": "this text is not a play",
    "latex-math": "this text is not LaTeX",
}
COUNTS = {
    "line-position",
    "line-length",
    "indentation",
    "word-position",
    "bracket-depth",
    "open-rings",
    "bar-position",
    "key",
}


@pytest.mark.parametrize("name", TABLES)
def test_labels(name):
    for text, expected in rows(TABLES[name]).values():
        check(name, text, expected, header=HEADERS.get(name, ""))


def test_every_detector_has_a_table():
    assert {*TABLES} == DETECTORS.keys()


def test_detectors_are_found_by_name():
    assert [detector.name for detector in get_detectors(None)] == list(DETECTORS)
    found = get_detectors(["comment", "quote"])
    assert [detector.name for detector in found] == ["comment", "quote"]


OTHER_KINDS = [
    # Four names of speakers in two hundred lines, and source code.
    ("speaker", PLAY + "The rain came over the hill, and nobody spoke.\n" * 200),
    ("speaker", "def f():\n    '''Lights it.\n\nArgs:\n    a\n    '''\nReturns:\n" * 9),
    ("latex-math", "It was $5, then $6.\n" * 50),
    ("latex-math", "\\item\n" + "The lamp was lit.\n" * 50),
    ("string", LATEX + "\\emph{lamp}\n\\end{document}\n"),  # though lines end in braces
    ("open-rings", "Anna\nBob\nCoco\nEve\n"),
    *((name, text) for name in NOT_EVERYWHERE for text in ("", "\n", PROSE)),
]


@pytest.mark.parametrize("name, text", OTHER_KINDS)
def test_what_does_not_apply_to_a_text_has_no_labels_and_says_why(name, text):
    assert DETECTORS[name].labels_of(text) is None
    assert DETECTORS[name].absence == NOT_EVERYWHERE[name]


TUNE = "X: {0}\nT:Lamp\nC:Ann\nM:6/8\nL:1/8\nK:G\n|:A2B c3|d6:|\n"
"""Six headers and a line of music."""
BOOK = "%abc-2.1\nM:6/8\n\n" + "\n".join(map(TUNE.format, range(9)))
RECORDS = [
    {"name": f"Anna's lamp [{number}", "lit": [number, True], "at": {"url": "http://a.b"}}
    for number in range(60)
]
NAMES = ["Anna", "O'Brien", 'Eve "the {'] * 20


@pytest.mark.parametrize(
    "name, text",
    [
        ("note", BOOK),
        ("note", BOOK.replace("\n", "\r\n")),
        ("key", "\ufeff" + BOOK),
        ("bar-position", BOOK[BOOK.index("T:") :]),  # cut inside of a tune
        ("open-rings", "C1CC%(100)CCC%01C%(100)\nCC(=O)N\n"),
        ("open-rings", "CC(C)c1ccccc1* |$;;;R1$|\nCC* |$;R$|\n"),
        ("string", json.dumps(RECORDS)),
        ("string", json.dumps(RECORDS, indent=2)),
        ("string", "\n".join(map(json.dumps, RECORDS))),
        ("bracket-depth", json.dumps(NAMES, indent=1)),
    ],
)
def test_a_text_is_of_a_kind_by_what_is_characteristic_of_it(name, text):
    assert DETECTORS[name].labels_of(text) is not None


def test_json_on_one_line_that_is_cut_inside_a_string_has_the_labels_of_the_whole():
    text = json.dumps(RECORDS)
    begin = text.index("lamp [20")
    assert np.array_equal(label("string", text[begin:]), label("string", text)[begin:])


def digits(labels):
    return "".join(str(int(label)) for label in labels)


@pytest.mark.parametrize(
    "music, notes, num_in_bar, sharps",
    [
        ("GA| % a bad end\nB", "GAB", 1, 1),
        ("A[K:Dm]B[M:6/8]c", "ABc", 3, -1),
        ("A[K: none]B", "AB", 2, 0),
        ("A% [K:C]|\nB", "AB", 2, 1),
        ("{/gef}A{g}B", "AB", 2, 1),
        ('"Gm"A"^a|b"!fade!B', "AB", 2, 1),
        ("AxX|Zz", "AxXZz", 2, 1),
        ("A|\nw:a b|\n+:c d\nB", "AB", 1, 1),
        ('"a\\%b"A', "A", 1, 1),
        ("A:|", "A", 0, 1),
        ("+trill+A +fade! B", "AfadeB", 6, 1),
        ("+f+A|+D.C.+B +>+c +mf+d", "ABcd", 3, 1),
        ("+CEG+ +^c'2=e/g,+", "CEGceg", 6, 1),
    ],
)
def test_only_what_sounds_or_rests_is_a_note(music, notes, num_in_bar, sharps):
    text = f"X:1\nK:G\n{music}"
    is_note = DETECTORS["note"].label(text)
    found = "".join(character for character, inside in zip(text, is_note, strict=True) if inside)
    assert found == notes
    assert DETECTORS["bar-position"].label(text)[-1] == num_in_bar
    assert DETECTORS["key"].label(text)[-1] == sharps


@pytest.mark.parametrize(
    "key, sharps",
    [
        ("D Phr ^f", -1),
        ("D exp _b _e ^f", -1),
        ("D maj =c", 1),
        ("D =c", 1),
        ("D ^f", 2),
        ("G exp", 0),
        ("C ^^f __B", 0),
        ("Am =G clef=treble middle=d", 0),
        ("Amix % ^g _b", 2),
        ("HP", 0),
        ("Hp", 2),
        ("", 0),
        ("none", 0),
    ],
)
def test_a_key_has_the_accidentals_that_it_names(key, sharps):
    assert DETECTORS["key"].label(f"X:1\nK:{key}\nA")[-1] == sharps
    if "%" not in key:
        assert DETECTORS["key"].label(f"X:1\nK:A\nA[K:{key}]B")[-1] == sharps


def test_what_follows_a_molecule_has_no_rings():
    assert not DETECTORS["open-rings"].label("CC* |$;R1$|\nCC 2-methyl").any()
    assert DETECTORS["open-rings"].label("C1CC* |$;R1$|").tolist() == [0] + [1] * 12


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("bracket-depth", "a (b [c'] d) e)\n(f", "001112221110000011"),
        ("bracket-depth", "a (b\r\n\r\nc", "001111100"),
        ("string", "say 'so'.\n", "0000111000"),
        ("speaker", "Ann:\nyes\n", "111000000"),
        ("latex-math", "it is $x$.\n", "00000011000"),
        ("comment", PROSE.splitlines()[0], "0" * 33),
    ],
)
def test_a_detector_that_is_named_labels_any_kind_of_text(name, text, expected):
    (named,) = get_detectors([name])
    assert DETECTORS[name].labels_of(text) is None
    assert digits(named.labels_of(text)) == expected


def test_the_speakers_of_a_screenplay_stand_in_capitals_without_a_colon():
    labels = DETECTORS["speaker"].labels_of(SCREENPLAY)
    marked = "".join(c if inside else " " for c, inside in zip(SCREENPLAY, labels, strict=True))
    assert marked.split() == ["ANN", "OLD", "BOB"] * 2
    # With line ends of Windows and notes of a program, and never a heading of a scene or an end.
    other = SCREENPLAY.replace("(V.O.)", "^").replace("\n", "\r\n") + "THE END\r\n\r\n"
    assert DETECTORS["speaker"].labels_of(other).sum() == labels.sum()


@pytest.mark.parametrize(
    "name, text, expected",
    [("quote", 'a "b\0c "d" e', "001100011000"), ("line-length", "ab\0cde\0\0", "10021000")],
)
def test_the_end_of_a_document_ends_what_is_open(name, text, expected):
    assert digits(DETECTORS[name].labels_of(text)) == expected


@given(ANY_TEXT, st.sampled_from(["", SOURCE]))
@settings(EXAMPLES, max_examples=10)  # of all detectors each
def test_any_text_has_labels_of_its_length_which_are_the_same_if_the_detector_is_named(
    text, header
):
    for name, detector in DETECTORS.items():
        (named,) = get_detectors([name])
        labels = named.labels_of(header + text)
        default = detector.labels_of(header + text)
        if default is None:
            assert name in NOT_EVERYWHERE
            # Two lines of source before at most sixty characters are more than the share that makes
            # it source.
            assert not header or HEADERS.get(name) != SOURCE
        else:
            assert np.array_equal(default, labels)
        assert labels.shape == (len(header + text),)
        assert labels.dtype == (np.int64 if name in COUNTS else bool)


@given(st.text("ab \t\n", max_size=40))
@EXAMPLES
def test_counts_equal_what_counting_gives(text):
    positions, lengths, depths, ends = [], [], [], []
    for index, character in enumerate(text):
        line_start = text.rfind("\n", 0, index) + 1
        line = text[line_start:].split("\n")[0]
        positions.append(0 if character == "\n" else index - line_start + 1)
        rest = "" if character == "\n" else text[index + 1 :].split("\n")[0]
        lengths.append(len(rest))
        ends.append(text[index + 1 : index + 2] == "\n")
        depths.append(min(len(line) - len(line.lstrip(" \t")), index - line_start + 1))
    assert label("line-position", text).tolist() == positions
    assert label("line-length", text).tolist() == lengths
    assert label("indentation", text).tolist() == depths
    assert label("newline-next", text).tolist() == ends


@given(MIXED)
@EXAMPLES
def test_words_and_capitals_equal_what_reading_gives(text):
    word, positions, capitals = "", [], []
    for index, character in enumerate(text):
        is_letter = character.isalnum() or character in "_\u0301"
        joins = (
            character in "'’"
            and index > 0
            and (text[index - 1].isalnum() or text[index - 1] in "_\u0301")
        )
        word = word + character if is_letter or joins else ""
        positions.append(len(word))
        capitals.append(sum(map(str.isupper, word)) >= 2 and not any(map(str.islower, word)))
    assert label("word-position", text).tolist() == positions
    assert label("capital", text).tolist() == capitals


def spans(*lengths, gap=100):
    """Yes/no labels with spans of these lengths, `gap` characters outside before each."""
    return np.concatenate([np.r_[np.zeros(gap, bool), np.ones(length, bool)] for length in lengths])


def counts(num_stretches, length):
    """Seven, but for so many stretches of this length, which are three."""
    stretch = np.r_[np.full(2000, 7), np.full(length, 3)]
    return np.r_[np.tile(stretch, num_stretches), np.full(2000, 7)]


ENOUGH = [MIN_POSITIVES // MIN_SPANS] * MIN_SPANS
MOSTLY = spans(*[1000] * MIN_SPANS, gap=ENOUGH[0])


@pytest.mark.parametrize(
    "labels, is_scored",
    [
        (np.zeros(0, bool), False),
        (np.zeros(5000, bool), False),
        (spans(*ENOUGH), True),
        (spans(*ENOUGH)[:-1], False),
        (spans(*[1000] * (MIN_SPANS - 1)), False),
        (spans(*[20] * MIN_SPANS)[100:], True),  # from the first character on
        (MOSTLY, True),
        (MOSTLY[1:], False),
        (-counts(5, 10), True),
        (counts(4, 1000), False),
        (counts(49, 1), False),
        (np.full(5000, 7), False),
    ],
)
def test_labels_are_scored_where_there_are_enough_of_both(labels, is_scored):
    assert (why_not_scored(labels) is None) is is_scored

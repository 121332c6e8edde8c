"""Heat maps: what is drawn at a fixed width, without colour and as style spans, and what never gets
through."""

import math
import sys
import unicodedata

import pytest
from drawn import lines as plain
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from charrnn.cells.records import ColouredText
from charrnn.views.heatmap import (
    ABOUT_TURNED,
    SURPRISE_LEGEND,
    HeatMap,
    Legend,
    fold,
    scale_pictures,
    surprise_map,
    whole_words,
)
from charrnn.views.theme import (
    BLOCKS,
    FULL_SCALE,
    all_visible,
    scale_of,
    visible,
)

EXAMPLES = settings(max_examples=30)
BIDI_CLASSES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
BIDI_MARKS = "\u061c\u200e\u200f"
ODD = (
    "\t\n\r\x00\x07\x1b\x7f\x85\x9b\u0301\u200b\u200d\u202e\u2028\u2066\ufe0f\ud800日本👩🇬é"
    " [/bold]\\"
)
ANY_TEXT = st.text(st.characters() | st.sampled_from(ODD), max_size=200)
LONG_TEXT = st.text("lamp 日\t\n", min_size=100, max_size=400)


def heat_map(text, values=None):
    values = [0.0] * len(text) if values is None else values
    return HeatMap(ColouredText(text=text, values=tuple(values)))


def coloured(renderable, width=60):
    return list(
        Console(width=width, color_system="truecolor", force_terminal=True, _environ={}).render(
            renderable
        )
    )


def lines_in_colour(renderable, width):
    """The lines without their colours."""
    text = "".join(segment.text for segment in coloured(renderable, width))
    return text.split("\n")[:-1]


def background(segment):
    if segment.style is None or segment.style.bgcolor is None:
        return None
    triplet = segment.style.bgcolor.triplet
    return (triplet.red, triplet.green, triplet.blue)


def test_without_colour_a_strip_of_blocks_shows_the_values():
    assert plain(heat_map("lamps on\n", [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1])) == [
        "lamps on↵",
        "▁▂▃▄▅▆▇██",
    ]
    low, blocks, high = plain(Legend())[0].split()
    assert (low, blocks[0], blocks[len(blocks) // 2], blocks[-1], high) == ("-1", *"▁▅█", "+1")


def test_a_cell_that_is_low_inside_is_drawn_with_its_sign_turned():
    turned = scale_of([-1.0, 1.0], polarity=-1)
    legend, about = scale_pictures(turned)
    assert legend.ends == ("+1", "-1")
    assert plain(about, 90) == [ABOUT_TURNED]
    text = ColouredText(text="in out", values=(-1.0,) * 3 + (1.0,) * 3)
    assert plain(HeatMap(text, scale=turned)) == ["in out", "███▁▁▁"]
    assert scale_of([0.91, 0.99], polarity=-1).ends == ("+0.99", "+0.91")


@pytest.mark.parametrize(
    "values", [[-1.0, 1.0], [0.25, 0.75], [0.5, 0.5 + 1e-6], [], [float("nan")]]
)
def test_values_that_differ_or_are_all_the_same_are_drawn_on_the_full_scale(values):
    assert scale_of(values) == FULL_SCALE
    assert len(scale_pictures(FULL_SCALE)) == 1


def test_lines_are_broken_at_spaces():
    def lines(text, width):
        return lines_in_colour(heat_map(text), width)

    assert lines("the lamp was lit at once\n", 12) == ["the lamp ", "was lit at ", "once↵"]
    # A space that does not fit goes to the next line with its word, so that no line begins with
    # one.
    assert lines("the lamp was", 8) == ["the ", "lamp was"]
    # The words of a long line would be few: it is broken in a word, as one without spaces is.
    assert lines("at incandescence", 8) == ["at incan", "descence"]
    assert lines("    return incandescence", 12) == ["    return ", "incandescenc", "e"]
    # A wide character that would stick out goes to the next line whole.
    assert plain(heat_map("日本日本", [-1, 0, 1, -1]), width=5) == ["日本", "▁▁▅▅", "日本", "██▁▁"]


def test_where_the_detector_is_on_is_underlined():
    text, inside = "say hello now\n", tuple(4 <= index < 9 for index in range(14))
    picture = HeatMap(
        ColouredText(text=text, values=(0.0,) * 4 + (1.0,) * 6 + (0.0,) * 4, inside=inside)
    )
    underlined = "".join(s.text for s in coloured(picture) if s.style and s.style.underline)
    assert underlined == "hello"
    assert plain(picture) == ["say hello now↵", "    ▔▔▔▔▔", "▅▅▅▅██████▅▅▅▅"]
    legend = Legend(underlined="where the detector is on")
    assert plain(legend, 80)[0].endswith("+1   ▔ below: where the detector is on")
    words = [s for s in coloured(legend) if s.style and s.style.underline]
    assert [word.text for word in words] == ["underlined:"]
    assert plain(HeatMap(ColouredText(text="ab", values=(0.0,) * 2, inside=(False,) * 2))) == [
        "ab",
        "▅▅",
    ]


def test_low_is_red_high_is_blue_and_the_middle_is_left_alone():
    values = [-1.0, -0.6, -0.2, -0.05, 0.0, 0.05, 0.2, 0.6, 1.0]
    segments = coloured(heat_map("the lamp\n", values))
    colours = [background(segment) for segment in segments for _ in segment.text][: len(values)]
    excess = [None if colour is None else colour[2] - colour[0] for colour in colours]
    low, middle, high = excess[:3], excess[3:6], excess[6:]
    assert middle == [None] * 3
    # The stronger the value, the stronger the colour.
    assert low + high == sorted(low + high)
    assert low[-1] < -20
    assert high[0] > 20


@given(ANY_TEXT | LONG_TEXT, st.sampled_from([60, 80, 120]))
@EXAMPLES
def test_whatever_the_text_nothing_sticks_out_is_lost_or_moves_the_cursor(text, width):
    values = [index % 21 / 10 - 1 for index in range(len(text))]
    lines = plain(heat_map(text, values), width)
    shown, blocks = lines[::2], lines[1::2]
    assert "".join(shown) == "".join(map(visible, text.replace("\r\n", "\n")))
    assert max(map(cell_len, lines), default=0) <= width
    assert list(map(cell_len, blocks)) == list(map(cell_len, shown))
    assert set("".join(blocks)) <= set(BLOCKS)
    assert not any(map(is_dangerous, "".join(lines)))
    # Colours change no character.
    assert lines_in_colour(heat_map(text, values), width) == shown


def is_dangerous(character):
    """Whether a terminal obeys a character, or it has no place in one line from left to right."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in BIDI_CLASSES
        or character in BIDI_MARKS
    )


def test_no_control_surrogate_separator_or_direction_gets_through():
    dangerous = list(filter(is_dangerous, map(chr, range(sys.maxunicode + 1))))
    assert len(dangerous) == 65 + 2048 + 2 + 9 + 3
    shown = {character: visible(character) for character in dangerous}
    assert not set("".join(shown.values())) & set(dangerous)
    assert len(set(shown.values())) == len(dangerous)  # each by a mark of its own
    assert all(cell_len(mark) > 0 for mark in shown.values())


GUESSES = [
    [("b", 0.7), (" ", 0.2), ("x", 0.05)],
    [("c", 0.9)],
    [("\n", 0.5), ("語", 0.4)],
    [("d", 0.019)],
]


def test_each_guess_stands_under_its_character_unless_it_is_unlikely():
    picture = HeatMap(ColouredText(text="ab語d", values=(0.0,) * 4, guesses=GUESSES))
    assert plain(picture) == ["ab語d", "▅▅▅▅▅", "bc↵  ", "␣ 語 ", "x    ", ""]
    lines = ["ab", "▅▅", "bc", "␣ ", "x ", "", "語", "▅▅", "↵ ", "語", "", "d", "▅", ""]
    assert plain(picture, 2) == lines


def test_surprise_is_drawn_from_nothing_to_eight_bits():
    for text, bits, blocks in (
        ("abcd", (0.0, 4.0, 8.0, 30.0), "▁▅██"),
        ("ab", (math.nan, 8.0), " █"),
    ):
        assert plain(surprise_map(ColouredText(text=text, values=bits))) == [text, blocks]
    assert plain(SURPRISE_LEGEND)[0].startswith("0 ▁")
    assert plain(SURPRISE_LEGEND)[0].endswith("█ 8 bits or more")


SCRIPTS = {
    "Hindi": ("हिन्दी", ["हि", "न्", "दी"]),
    "decomposed Vietnamese": ("Vie\u0323\u0302t", ["V", "i", "e\u0323\u0302", "t"]),
    "Hebrew with vowels": ("שָׁלוֹם", ["שָׁ", "ל", "וֹ", "ם"]),
    "Thai": ("น้ำก็", ["น้", "ำ", "ก็"]),
    "a tone of skin": ("👩🏽!", ["👩🏽", "!"]),
    "a family": ("👨\u200d👩\u200d👧", ["👨\u200d👩\u200d👧"]),
}
"""Texts and the grapheme clusters that they have."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_letter_and_its_marks_are_drawn_as_one_in_the_colour_of_the_last(script):
    text, expected = SCRIPTS[script]
    last = dict.fromkeys(expected, 0)
    end = 0
    for cluster in expected:
        end += len(cluster)
        last[cluster] = end - 1

    (line,) = fold(zip(text, range(len(text)), strict=True), 40)
    assert line == [(cluster, last[cluster]) for cluster in expected]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_blocks_below_a_script_are_as_wide_as_it(script):
    text, _ = SCRIPTS[script]
    shown, blocks = plain(heat_map(text, [1.0] * len(text)))
    assert shown == text
    assert blocks == "█" * cell_len(text)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("\u0301a", "<301>a"),
        ("a \u0301", "a <301>"),
        ("─\u0301", "─<301>"),
        ("\u200d", "<200d>"),
        ("🏽", "<1f3fd>"),
        ("\ufe0f", "<fe0f>"),
        ("a\u200bb", "a<200b>b"),
        ("a\u202eb", "a<202e>b"),
    ],
)
def test_what_has_no_letter_before_it_is_named(text, shown):
    assert all_visible(text) == shown


def test_a_cluster_has_an_end_however_many_marks_follow():
    assert all_visible("a" + "\u0301" * 40) == "a" + "\u0301" * 30 + "<301>" * 10


@pytest.mark.parametrize(
    "text, begins_inside_line, ends_inside_text, drawn",
    [
        ("lf a line\nThe lamp was lit", True, True, "…The lamp was …"),
        ("mp was lit and", True, True, "…was lit …"),
        ("The lamp was lit", False, False, "The lamp was lit"),
        ("The lamp\n", False, True, "The lamp\n"),
        ("incandescence", True, True, "…incandescence…"),
        ("na\0Bernd\0Car", True, True, "…Bernd\0"),
    ],
)
def test_a_part_of_a_text_is_drawn_in_whole_words(
    text, begins_inside_line, ends_inside_text, drawn
):
    values = tuple(map(float, range(len(text))))
    whole = ColouredText(text=text, values=values, inside=(True,) * len(text))
    shown = whole_words(
        whole, begins_inside_line=begins_inside_line, ends_inside_text=ends_inside_text
    )
    assert shown.text == drawn
    kept = [
        (char, value) for char, value in zip(shown.text, shown.values, strict=True) if char != "…"
    ]
    assert all(text[int(value)] == char for char, value in kept)
    assert sum(map(math.isnan, shown.values)) == drawn.count("…")
    assert shown.inside == tuple(char != "…" for char in drawn)

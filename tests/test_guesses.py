"""Guesses under a text: each under its character, whatever the width, and none that is unlikely."""

import io

from rich.console import Console

from charrnn.views.heatmap import SURPRISE_LEGEND, GuessMap, SurpriseMap


def lines(renderable: object, width: int = 60) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().split("\n")[:-1]


GUESSES = [
    [("b", 0.7), (" ", 0.2), ("x", 0.05)],
    [("c", 0.9)],
    [("\n", 0.5), ("語", 0.4)],
    [("d", 0.019)],
]


def test_each_guess_stands_under_its_character() -> None:
    assert lines(GuessMap("ab語d", [0.0] * 4, GUESSES)) == ["ab語d", "bc↵  ", "␣ 語 ", "x    ", ""]


def test_lines_are_folded_with_their_guesses_and_wide_guesses_cut() -> None:
    folded = ["ab", "bc", "␣ ", "x ", "", "語", "↵ ", "語", "", "d", ""]
    assert lines(GuessMap("ab語d", [0.0] * 4, GUESSES), width=2) == folded
    shown = lines(GuessMap("abc", [0.0] * 3, [[("\x1b", 0.9)], [("語", 0.9)], [("\\xe2", 0.9)]]))
    assert shown == ["abc", "␛·\\", ""]


def test_surprise_is_drawn_from_nothing_to_eight_bits() -> None:
    assert lines(SurpriseMap("abcd", [0.0, 4.0, 8.0, 30.0])) == ["abcd", "▁▅██"]
    assert lines(SurpriseMap("ab", [float("nan"), 8.0])) == ["ab", " █"]
    assert lines(SURPRISE_LEGEND)[0].startswith("0 ▁") and lines(SURPRISE_LEGEND)[0].endswith("█ 8 bits or more")
    console = Console(file=io.StringIO(), width=60, color_system="truecolor", force_terminal=True, _environ={})
    (unmarked, marked) = [s for s in console.render(SurpriseMap("ab", [0.1, 7.0])) if s.text.strip()]
    assert unmarked.style is None or unmarked.style.bgcolor is None
    assert marked.style is not None and marked.style.bgcolor is not None

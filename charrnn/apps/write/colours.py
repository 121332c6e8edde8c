"""The styles of the lines of a draft: what each character of them is coloured by."""

from collections.abc import Callable, Sequence

import numpy as np
from rich.style import Style

from charrnn.apps.write.assistant import DraftAssistant
from charrnn.apps.write.state import Colour
from charrnn.views.heatmap import MAX_BITS
from charrnn.views.palette import Palette


def line_styles(
    assistant: DraftAssistant,
    palette: Palette,
    colour: Colour,
    text: str,
    begin: int,
    lengths: Sequence[int],
    check: Callable[[], object],
) -> list[list[Style]]:
    """Return a style for each character of some lines of a text, by a cell or by surprise; no style where nan.

    The lines have these `lengths` without their ends, and the first one begins at `begin`. `check` is called often;
    what it raises ends the work.
    """
    starts = np.cumsum([begin, *(length + 1 for length in lengths)]).tolist()
    end = min(len(text), starts[-1])
    style_of: Callable[[float], Style] = palette.surprise
    if isinstance(colour, tuple):
        values = assistant.cell_values(text, colour, begin, end, on_read=lambda num_chars: check()).tolist()
        style_of = palette.value
    else:
        values = (assistant.surprise(text, begin, end, on_read=lambda num_chars: check()) / MAX_BITS).tolist()
    styles = [style_of(value) if value == value else Style() for value in values]
    return [styles[start - begin : start - begin + length] for start, length in zip(starts, lengths, strict=False)]

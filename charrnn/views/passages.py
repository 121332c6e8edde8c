"""Draw the passages of a text that show what the best cells do, each coloured by its cell."""

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from charrnn.cells.records import Passage
from charrnn.views.heatmap import HeatMap, end_legend, scale_of_text, scale_pictures, whole_words
from charrnn.views.scores import meaning, polarity_text, score_line
from charrnn.views.theme import all_visible


def passage_pictures(
    passages: Sequence[Passage],
    looks_for: Mapping[str, str] | None = None,
) -> list[RenderableType]:
    """Draw each passage, coloured by its cell, below a caption and the scale if it is not that of
    the passage before. `looks_for` describes each detector, for the captions.

    They stand below the findings that they belong to; `passage_list` is for the passages of one
    cell.
    """
    pictures = end_legend("".join(passage.coloured.text for passage in passages))
    before = None
    for passage in passages:
        score = passage.score
        coloured = passage.coloured
        caption = f"cell {score.layer}:{score.unit} follows {score.detector}"
        if looks_for:
            caption += f" ({looks_for[score.detector]})"
        phrases = filter(None, (polarity_text(score), meaning(score)))
        if pictures:
            pictures.append(Text())
        pictures.append(Text(all_visible(f"{caption}: {', '.join(phrases)}"), style="bold"))
        pictures.append(Text(score_line(score)))

        # A detector that counts underlines nothing.
        scale = scale_of_text(coloured)
        key = (scale, bool(coloured.inside))
        if key != before:
            underlined = "where the detector is on" if coloured.inside else ""
            pictures += scale_pictures(scale, underlined)
        before = key
        shown = whole_words(
            coloured,
            begins_inside_line=passage.begins_inside_line,
            ends_inside_text=passage.ends_inside_text,
        )
        pictures.append(HeatMap(shown, scale))
    return pictures

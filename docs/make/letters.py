"""Write the outlines of the letters of the drawings: `python docs/make/letters.py`.

It needs the font DejaVu Sans Mono and fontTools (pip install fonttools). Run it when a drawing of
`drawings.py` has a letter that no drawing had before: `letters.json` has the letters of ASCII and
OTHERS.
"""

import argparse
import json
from pathlib import Path

from drawings import LETTERS
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

OTHERS = "×′₁₂₃₄"
"""Letters outside of ASCII."""
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf")
"""Where the font is by default."""


def main() -> None:
    """Write the outlines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--font", type=Path, default=FONT)
    font = TTFont(parser.parse_args().font)
    glyphs = font.getGlyphSet()
    names = font.getBestCmap()

    outlines = {}
    for letter in [*map(chr, range(33, 127)), *OTHERS]:
        pen = SVGPathPen(glyphs)
        glyphs[names[ord(letter)]].draw(pen)
        outlines[letter] = pen.getCommands()
    letters = {
        "font": "DejaVu Sans Mono",
        "units": font["head"].unitsPerEm,
        "width": glyphs[names[ord("a")]].width,
        "outlines": outlines,
    }
    encoded = json.dumps(letters, ensure_ascii=False, indent=1)
    LETTERS.write_text(encoded + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

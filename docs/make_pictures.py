"""Draw the first picture of the README from a trained run: `python docs/make_pictures.py RUN`
writes docs/pictures.

The picture is what `charrnn visualize RUN --detector quote --top 1 --export quote.svg` draws,
without the scores below the passage: the README has a table of its own.
"""

import sys
from pathlib import Path

import charrnn
from charrnn.views.findings_tables import passage_pictures
from charrnn.views.svg import to_svg

FOLDER = Path(__file__).with_name("pictures")
"""Where the picture goes."""
LOOKS_FOR = {"quote": "inside double quotation marks"}
"""What the detector labels, for the caption."""
MAX_CHARS = 131_072
"""Characters of the held-out text that `visualize` reads."""
COLUMNS = 76
"""Width of the picture in characters."""


def main() -> None:
    """Draw the passage that `visualize` chooses for the quotation cell."""
    model = charrnn.load(sys.argv[1])
    text, context = model.held_out_text()
    study = model.study(text[:MAX_CHARS], context=context, cached=True)
    findings = study.findings(["quote"])
    passages = study.passages(findings, ["quote"], num_passages=1)
    picture = to_svg(
        passage_pictures(passages, LOOKS_FOR)[:-1], "A cell that is low in quotations", COLUMNS
    )
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "quote.svg").write_text(picture, encoding="utf-8", newline="\n")
    for score in findings.scores:
        print(score)


if __name__ == "__main__":
    main()

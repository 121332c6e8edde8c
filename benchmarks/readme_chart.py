"""Draw the bar chart of the README: time and validation loss on tiny Shakespeare, for light and for
dark pages.

    python benchmarks/readme_chart.py            # reads docs/results.csv, writes docs/pictures/shakespeare-*.svg

Only Python's standard library is used, so the same figures give the same bytes.
"""

import csv
from dataclasses import dataclass
from html import escape
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
"""Where the figures are and the charts go."""
WIDTH, ROW, TOP = 860, 34, 52
"""Width of the chart, height of a row and space above the first, in pixels."""
NAMES, MINUTES, NATS = 268, (280, 190), (556, 230)
"""Right end of the names; left end and width of the bars of both columns, which begin at zero."""
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
"""Fonts, the preferred one first."""


@dataclass(frozen=True)
class Theme:
    """Colours of a page."""

    name: str
    paper: str
    ink: str
    faint: str
    ours: str
    theirs: str


THEMES = (
    Theme("light", "#ffffff", "#1f2328", "#59636e", "#2563c9", "#a3abb5"),
    Theme("dark", "#0d1117", "#e6edf3", "#9198a1", "#79a8ff", "#59626d"),
)
"""The colours of a light and of a dark page."""


def read_rows() -> list[dict[str, str]]:
    """Read the figures, the highest loss first."""
    with (DOCS / "results.csv").open(encoding="utf-8", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: -float(row["windowed_nats"]))


def draw(rows: list[dict[str, str]], theme: Theme) -> str:
    """Return the chart: for each row its name, a bar of minutes and a bar of nats, each from
    zero."""

    def text(
        x: float, y: float, words: str, fill: str, size: int = 14, anchor: str = "start"
    ) -> str:
        return (
            f'<text x="{x:g}" y="{y:g}" fill="{fill}" font-size="{size}"'
            f' text-anchor="{anchor}">{escape(words)}</text>'
        )

    height = TOP + ROW * len(rows) + 10
    parts = [
        text(MINUTES[0], 30, "minutes", theme.faint),
        text(NATS[0], 30, "validation loss, nats per character", theme.faint),
    ]
    longest = max(float(row["seconds"]) for row in rows)
    highest = max(float(row["windowed_nats"]) for row in rows)
    for number, row in enumerate(rows):
        y = TOP + ROW * number
        is_ours = row["source"] == "measured"
        fill = theme.ours if is_ours else theme.theirs
        name, about = row["model"].split(" (")[0], row["machine"]
        parts.append(text(NAMES, y + 17, f"{name}, {about}", theme.ink, 14, "end"))
        seconds, nats = float(row["seconds"]), float(row["windowed_nats"])
        minutes = f"{seconds / 60:.1f}" if is_ours else f"about {seconds / 60:g}"
        for (left, width), share, label in (
            (MINUTES, seconds / longest, minutes),
            (NATS, nats / highest, row["windowed_nats"]),
        ):
            parts.append(
                f'<rect x="{left}" y="{y}" width="{max(2, share * width):.1f}" height="24" rx="3"'
                f' fill="{fill}"/>'
            )
            parts.append(text(left + max(2, share * width) + 7, y + 17, label, theme.ink))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0'
        f' {WIDTH} {height}" role="img" font-family="{FONT}">\n<title>Minutes and validation loss'
        ' on tiny Shakespeare</title>\n<rect width="100%" height="100%" rx="8"'
        f' fill="{theme.paper}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def main() -> None:
    """Draw the chart for both themes."""
    for theme in THEMES:
        path = DOCS / "pictures" / f"shakespeare-{theme.name}.svg"
        path.write_text(draw(read_rows(), theme), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

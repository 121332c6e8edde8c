"""The formats of exported files by suffix: the content, the package that a format needs, and the
function that writes the file.

This module imports neither rich nor NumPy, so that the help texts can list the formats at no cost.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import bidirectional
from zlib import crc32

from charrnn.config.options import words_in_text
from charrnn.errors import UsageError
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import tell, warn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from charrnn.views import chart_files, svg
    from charrnn.views.drawing import Drawing
else:
    chart_files = LazyModule("charrnn.views.chart_files")
    svg = LazyModule("charrnn.views.svg")


MOST_LINES = 100
"""Lines of a picture that fit on a page, in a small print."""


def to_json(value: Any) -> str:
    """Encode a value as a line of printable ASCII. Also escapes DEL, the only control character
    that JSON leaves as it is.

    `print_json` prints it. It is used in place of `json.dumps`, whose NaN other programs refuse.

    Numbers that are not finite become null.
    """
    return json.dumps(replace_non_finite(value), ensure_ascii=True, allow_nan=False).replace(
        "\x7f", "\\u007f"
    )


def replace_non_finite(value: Any) -> Any:
    """Replace infinities and nan in a nested value by None, because JSON has no notation for
    them."""
    # json writes NaN and Infinity, which other parsers refuse.
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class Shown:
    """A result, for people and for programs.

    A command fills in what its result can be, and `streams.deliver` takes what is asked for:
    pictures, JSON, or a file by its suffix.
    """

    title: str
    """The name of an exported picture."""
    pictures: "Sequence[RenderableType]"
    """What the terminal and an exported picture show."""
    data: Any
    """The same as a value for JSON."""
    page: str = ""
    """The page of an exported .html, if it shows more than the pictures."""
    rows: Sequence[Mapping[str, Any]] = ()
    """The rows of an exported .csv, as objects for JSON."""
    arrays: "Mapping[str, NDArray[Any]]" = field(default_factory=dict)
    """The content of an exported .npz."""
    chart: "Drawing | None" = None
    """The chart of an exported .svg, .png, .pdf or .html, in place of the pictures: lines in place
    of dots."""


@dataclass(frozen=True)
class ExportFormat:
    """A format of exported results.

    A new suffix is one more of them.
    """

    write: Callable[[Shown], bytes]
    """Return the content of the file. Raises UsageError if it cannot be made here."""
    mark: bytes = b""
    """Bytes near the beginning of a file that charrnn wrote, which may be replaced by a new file
    (`runs.destinations`). b"" for a format without a mark."""


def _to_html(shown: Shown) -> bytes:
    # Imported here: the help lists the formats without rich.
    from charrnn.views.drawing import Drawing

    if shown.page:
        return shown.page.encode("utf-8")
    if shown.chart is None:
        return svg.to_html(shown.pictures, shown.title).encode("utf-8")
    # The chart stands above all else, in place of the dots of a terminal.
    others = [picture for picture in shown.pictures if not isinstance(picture, Drawing)]
    chart = chart_files.draw_in_page(shown.chart, shown.title)
    return svg.to_html(others, shown.title, chart=chart).encode("utf-8")


def _to_svg(shown: Shown) -> bytes:
    if shown.chart is not None:
        return chart_files.draw_chart(shown.chart, "svg", title=shown.title)
    return _drawn(shown).encode("utf-8")


def _drawn(shown: Shown) -> str:
    """Draw the pictures of a result. A warning names letters that stand in another order, and a
    note a picture that is too tall for a page."""
    picture = svg.to_svg(shown.pictures, shown.title)
    # Each letter has the column of its place in the text: Hebrew and Arabic words would be read
    # backwards.
    if {"R", "AL"} & set(map(bidirectional, picture)):
        warn(
            "the picture has letters that are read from right to left, each in its place from left"
            " to right; an .html shows the words as they are read"
        )
    # The first height is that of the whole picture.
    size = re.search('height="([0-9.]+)"', picture)
    assert size is not None
    num_lines = round(float(size[1]) / svg.LINE_HEIGHT)
    if num_lines > MOST_LINES:
        tell(
            f"The picture is {num_lines:,} lines tall, more than a page has: .html is for a screen,"
            " and .txt, and .csv where there is one, for a text."
        )
    return picture


def _to_png(shown: Shown) -> bytes:
    if shown.chart is not None:
        return chart_files.draw_chart(shown.chart, "png", title=shown.title)

    # A text chunk after the header: signature, then length, type, 13 bytes and checksum.
    picture = svg.to_png(_drawn(shown))
    chunk = b"tEXt" + _PNG_MARK
    length = len(_PNG_MARK).to_bytes(4, "big")
    return picture[:33] + length + chunk + crc32(chunk).to_bytes(4, "big") + picture[33:]


def _to_pdf(shown: Shown) -> bytes:
    assert shown.chart is not None, "export_destination refuses a .pdf of other results"
    return chart_files.draw_chart(shown.chart, "pdf", title=shown.title)


def _to_text(shown: Shown) -> bytes:
    return svg.to_text(shown.pictures).encode("utf-8")


def _to_json(shown: Shown) -> bytes:
    # In the first object, if the value is a list of objects.
    marked = to_json(shown.data).replace("{", f"{{{_JSON_MARK}, ", 1)
    return f"{marked}\n".encode("ascii")


def _to_csv(shown: Shown) -> bytes:
    """Write objects as comma-separated values. An object in an object has a column for each of its
    entries, such as `difference.mean`; a list is written as JSON, and what is missing is empty."""
    flat_rows = [dict(_flat(row)) for row in shown.rows]
    # Rows of different kinds have different entries.
    columns = dict.fromkeys(name for row in flat_rows for name in row)
    buffer = StringIO()
    # A value is put in quotes if it has a character of the line end, as that of old texts, CR.
    table = csv.DictWriter(buffer, list(columns), lineterminator="\r\n")
    table.writeheader()
    table.writerows(flat_rows)
    # With a mark of its encoding: spreadsheets take a file without one for another encoding.
    return buffer.getvalue().encode("utf-8-sig", "replace")


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name of each column of a record, and its value."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", to_json(value)
        else:
            yield f"{prefix}{name}", value


def _to_npz(shown: Shown) -> bytes:
    # Imported here: the help lists the formats without NumPy.
    import numpy as np

    from charrnn.views.theme import all_visible

    file = BytesIO()
    # A regular expression, the name of a detector, can contain characters that no file name in an
    # archive can.
    arrays: dict[str, Any] = {all_visible(name): array for name, array in shown.arrays.items()}
    np.savez_compressed(file, **arrays)
    return file.getvalue()


_PNG_MARK = b"Software\0charrnn"
_JSON_MARK = '"generator": "charrnn"'
FORMATS = {
    ".html": ExportFormat(_to_html, mark=b'<meta name="generator" content="charrnn">'),
    ".svg": ExportFormat(_to_svg, mark=b'class="charrnn"'),
    ".png": ExportFormat(_to_png, mark=_PNG_MARK),
    ".pdf": ExportFormat(_to_pdf, mark=b"% charrnn"),
    ".txt": ExportFormat(_to_text),
    ".json": ExportFormat(_to_json, mark=_JSON_MARK.encode()),
    ".csv": ExportFormat(_to_csv),
    ".npz": ExportFormat(_to_npz),
}
"""The formats of exported results, by suffix in lower case."""


PICTURE_SUFFIXES = (".svg", ".png")
"""The formats that are a picture."""
SPREADSHEET_SUFFIXES = (".xlsx", ".xls", ".ods")
"""The formats of spreadsheet programs, which read a .csv and which nothing here writes."""


def describe_formats() -> str:
    """Return the suffixes of the formats of all commands, for help texts."""
    # The commands that draw charts or compute activations say so themselves.
    return words_in_text(suffix for suffix in FORMATS if suffix not in (".npz", ".pdf"))


def find_format(path: Path, *, lacks: Container[str] = ()) -> ExportFormat:
    """Return the format of a file by its suffix. Raises UsageError for an unknown suffix; the
    message names all others but those that the result lacks.

    It is asked before anything is computed.
    """
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]

    possible = [each for each in FORMATS if each not in lacks]
    message = f"{path}: the name must end in {words_in_text(possible)}"
    if suffix in SPREADSHEET_SUFFIXES and ".csv" in possible:
        message += "; for a spreadsheet: .csv"
    raise UsageError(f"{message}.")

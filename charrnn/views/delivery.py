"""The formats of exported files by suffix: what each contains, what it needs, and how it is
written.

This module imports neither rich nor NumPy, so that the help texts can list the formats at no cost.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.errors import UsageError, install_command
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from charrnn.views.html_page import HeatMapPage

page, svg = LazyModule("charrnn.views.html_page"), LazyModule("charrnn.views.svg")


def to_json(value: Any) -> str:
    """Encode a value as one line of printable ASCII. Also escapes DEL, the one control character
    JSON leaves as it is.

    Numbers that are not finite become null.
    """
    return json.dumps(replace_non_finite(value), ensure_ascii=True, allow_nan=False).replace(
        "\x7f", "\\u007f"
    )


def replace_non_finite(value: Any) -> Any:
    """Replace infinities and nan in a nested value by None, because JSON has no notation for
    them."""
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


@dataclass(frozen=True)
class Shown:
    """A result, for people and for programs."""

    title: str
    """The name of an exported picture."""
    pictures: "Sequence[RenderableType]"
    """What the terminal shows."""
    data: Any
    """The same as a value for JSON."""
    page: "HeatMapPage | None" = None
    """What an exported .html shows, if that is more than the pictures."""
    arrays: "Mapping[str, NDArray[Any]]" = field(default_factory=dict)
    """What an exported .npz contains."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format of exported files: of results, which `FORMATS` lists, or of another kind."""

    suffix: str
    content: str
    """What the file contains, or what it is for, in a few words."""
    write: Callable[..., Any]
    """Return the content of the file, for a `Shown` as bytes. Raises UsageError if it cannot be
    made here."""
    module: str = ""
    """The module of an optional package that has to be installed."""
    extra: str = ""
    """The extra of charrnn that installs it; "" for a package that charrnn requires."""
    instead: str = ""
    """Another way to such a file where the package is missing; {stem} stands for its path without
    the suffix."""


def _to_html(shown: Shown) -> bytes:
    html = (
        svg.to_html(shown.pictures, shown.title)
        if shown.page is None
        else page.to_html_page(shown.page)
    )
    return html.encode("utf-8")  # type: ignore[no-any-return]


def _to_svg(shown: Shown) -> str:
    return svg.to_svg(shown.pictures, shown.title)  # type: ignore[no-any-return]


def _to_npz(shown: Shown) -> bytes:
    import numpy as np

    from charrnn.views.theme import all_visible

    file = BytesIO()
    # A regular expression, the name of a detector, can contain characters that no file name in an
    # archive can.
    arrays: dict[str, Any] = {all_visible(name): array for name, array in shown.arrays.items()}
    np.savez_compressed(file, **arrays)
    return file.getvalue()


_FORMATS = (
    ExportFormat(".html", "web page", _to_html),
    ExportFormat(".svg", "picture", lambda shown: _to_svg(shown).encode("utf-8")),
    ExportFormat(
        ".png",
        "picture",
        lambda shown: svg.to_png(_to_svg(shown)),
        module="resvg_py",
        instead="Or export {stem}.svg, and convert it: rsvg-convert -z 2 -o {stem}.png {stem}.svg",
    ),
    ExportFormat(".txt", "plain text", lambda shown: svg.to_text(shown.pictures).encode("utf-8")),
    ExportFormat(".json", "numbers", lambda shown: (to_json(shown.data) + "\n").encode("ascii")),
    ExportFormat(".npz", "activations, as NumPy arrays", _to_npz),
)
FORMATS = {one.suffix: one for one in _FORMATS}
"""The formats of exported files, by suffix in lower case."""


PICTURE_SUFFIXES = (".svg", ".png")
"""The formats that are a picture."""


def describe_formats(*, has_arrays: bool = True) -> str:
    """Describe the formats in one line, for help texts; without `has_arrays`, those of results
    without activations."""
    return ", ".join(
        f"{one.suffix} ({one.content}" + (f"; needs the extra {one.extra})" if one.extra else ")")
        for one in FORMATS.values()
        if has_arrays or one.suffix != ".npz"
    )


def find_format(path: Path, formats: Mapping[str, ExportFormat] = FORMATS) -> ExportFormat:
    """Return the format of a file by its suffix. Raises UsageError for an unknown one, and for a
    missing package."""
    found = formats.get(path.suffix.lower())
    if found is None:
        *others, last = formats
        raise UsageError(f"{path}: the name must end in {', '.join(others)} or {last}.")
    if found.module and find_spec(found.module) is None:
        raise UsageError(
            f"{path}: a {found.suffix} needs the package {found.module}. Install it: "
            f"{install_command(found.extra)}\n{found.instead.format(stem=path.with_suffix(''))}".rstrip()
        )
    return found


def check_target(path: Path, formats: Mapping[str, ExportFormat] = FORMATS) -> ExportFormat:
    """Return the format of a file that is to be written. Raises UsageError as `find_format`, and
    without its folder."""
    found = find_format(path, formats)
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}. Create it, or give another.")
    return found

"""The state of `charrnn write`, without its widgets: the file, what of the text is saved, the settings, the notes."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from charrnn.apps.write.boundaries import Until
from charrnn.apps.write.continuations import ContinuationOptions
from charrnn.apps.write.drafts import Draft, FileFormat, save_draft, write_recovery
from charrnn.apps.write.substitution import ReadText, Substitution
from charrnn.errors import UsageError, counted
from charrnn.generation.options import SAMPLE_TEMPERATURE
from charrnn.generation.records import Continuation
from charrnn.views.visible import all_visible

TEMPERATURES = (0.2, 0.5, SAMPLE_TEMPERATURE, 1.0, 1.2)
"""Temperatures that Ctrl-T goes through."""
SURPRISE = "surprise"
"""The word that colours by surprise."""
_LISTED = 12
"""Kinds of substitutions that are listed."""
Colour = tuple[int, int] | str | None
"""What the text is coloured by: a cell, `SURPRISE`, or nothing."""


@dataclass(frozen=True)
class Recovery:
    """Text that was not saved and was taken over from a file."""

    path: Path
    text: str
    text_before: str
    """What was saved when it was taken over."""
    is_undone: Callable[[], bool]
    """Returns whether the change that took it over is undone."""

    def is_saved_with(self, text: str) -> bool:
        """Return whether a text that is saved is the recovered one, or what became of it."""
        return text == self.text or (text != self.text_before and not self.is_undone())


@dataclass
class DraftFile:
    """A draft, where it belongs, and what of it is saved."""

    path: Path | None
    draft: Draft
    recovery: Recovery | None = None
    """What was taken over last: its file is removed once that text is saved."""

    def __post_init__(self) -> None:
        self.saved_text: str = self.draft.text
        self.digest: str | None = self.draft.digest
        self.format: FileFormat = self.draft.format

    def is_unsaved(self, text: str) -> bool:
        """Return whether a text differs from what was read or saved last."""
        return text != self.saved_text

    def save(self, text: str, path: Path | None = None, *, overwrite: bool = False) -> None:
        """Save a text, from now on as `path` if it is given. Raises ChangedOnDiskError, CharRNNError."""
        target = path or self.path
        assert target is not None, "whoever saves has asked for a name"
        known = self.digest if path is None or path == self.path else None
        self.digest = save_draft(target, text, self.format, known=known, overwrite=overwrite)
        self.path, self.saved_text = target, text
        if self.recovery is not None and self.recovery.is_saved_with(text):
            with contextlib.suppress(OSError):  # the text is saved all the same
                self.recovery.path.unlink()
            self.recovery = None

    def take_over(self, path: Path, text: str, is_undone: Callable[[], bool]) -> None:
        """Remove the file of a recovered text once that text is saved; `is_undone` says whether it was taken back."""
        self.recovery = Recovery(path, text, self.saved_text, is_undone)

    def recover(self, text: str) -> Path:
        """Write text that is not saved beside the draft, and return the path. Raises CharRNNError."""
        return write_recovery(self.path, text, self.format)


@dataclass
class Settings:
    """What Tab offers, and what colours the text."""

    until: Until = "word"
    temperature: float = SAMPLE_TEMPERATURE
    seed: int = 0
    colour: Colour = None
    cell: tuple[int, int] | None = field(default=None)
    """The cell that was asked for, which the colours come back to."""

    def __post_init__(self) -> None:
        if isinstance(self.colour, tuple):
            self.cell = self.colour

    def options(self) -> ContinuationOptions:
        """Return the options of the continuations."""
        return ContinuationOptions(until=self.until, temperature=self.temperature, seed=self.seed)

    def next_until(self) -> None:
        """Change to the next of word, line and sentence."""
        words: tuple[Until, ...] = get_args(Until)
        self.until = words[(words.index(self.until) + 1) % len(words)]

    def next_temperature(self) -> None:
        """Change to the next higher one of `TEMPERATURES`, from the highest to the lowest."""
        self.temperature = next((one for one in TEMPERATURES if one > self.temperature), TEMPERATURES[0])

    def next_colour(self) -> None:
        """Change from no colours to those of surprise, then of the cell if there is one, then to none."""
        colours: list[Colour] = [None, SURPRISE, *([self.cell] if self.cell else [])]
        self.colour = colours[(colours.index(self.colour) + 1) % len(colours)]

    @property
    def colour_name(self) -> str:
        """The colour as it is shown and typed."""
        return (
            f"cell {self.colour[0]}:{self.colour[1]}" if isinstance(self.colour, tuple) else self.colour or "no colour"
        )


def describe_reading(read: ReadText, name: str) -> list[str]:
    """Return what a model reads as something else, and what it does not know, a line each; nothing if it knows all."""
    lines = []
    if read.substitutions:
        by_replacement: dict[str, list[Substitution]] = {}
        for one in read.substitutions:
            by_replacement.setdefault(one.replacement, []).append(one)
        listed = [
            f"{_joined(found)} as {_shown(replacement)} ({sum(one.count for one in found):,})"
            for replacement, found in by_replacement.items()
        ]
        num = sum(one.count for one in read.substitutions)
        lines.append(f"{name} reads {counted(num, 'character')} as others: {', '.join(_cut(listed))}")
    if read.unknown:
        listed = [f"{_shown(one.characters)} ({one.count:,})" for one in read.unknown]
        num = sum(one.count for one in read.unknown)
        lines.append(f"{counted(num, 'character')} unknown to {name}: {', '.join(_cut(listed))}")
    return lines


def _joined(found: list[Substitution]) -> str:
    return " ".join(_cut([_shown(one.characters) for one in found]))


def _cut(listed: list[str]) -> list[str]:
    return listed if len(listed) <= _LISTED else [*listed[:_LISTED], "…"]


_NAMES: Mapping[str, str] = {
    "": "nothing",
    " ": "space",
    "\n": "newline",
    "\r\n": "CRLF",
    "\r": "CR",
    "\u00a0": "no-break space",
    "\u202f": "narrow no-break space",
    "\u00ad": "soft hyphen",
    "\u200b": "zero-width space",
    "\ufeff": "byte-order mark",
    "\u2028": "line separator",
    "\u2029": "paragraph separator",
    "\x0b": "line break",
    "\x0c": "page break",
}


def _shown(characters: str) -> str:
    return _NAMES.get(characters) or all_visible(characters)


def source_of(one: Continuation) -> str:
    """Return in a word what found a continuation: `beam`, or `T` and the temperature of a sample."""
    return "beam" if one.temperature is None else f"T {one.temperature:g}"


def shown_continuation(one: Continuation) -> str:
    """Return the text of a continuation in one line: spaces at its ends are marked, and … if it was cut."""
    text = all_visible(one.text)
    begin = len(text) - len(text.lstrip(" "))
    end = len(text) - len(text.rstrip(" "))
    text = "␣" * begin + text[begin : len(text) - end] + "␣" * end if text.strip(" ") else "␣" * len(text)
    return text if one.is_complete else text + "…"


def parse_path(name: str) -> Path:
    """Return the path of a file that was typed; ~ is the home folder. Raises UsageError for what names no file."""
    if not name.strip() or "\0" in name:
        raise UsageError("Write the name of a file.")
    try:
        path = Path(name.strip()).expanduser()
        is_folder = path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: of a user who has no home folder
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"That name cannot be used: {reason}. Write another one.") from None
    if is_folder:
        raise UsageError(f"{path} is a folder: write the name of a file.")
    return path

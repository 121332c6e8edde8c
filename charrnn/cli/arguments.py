"""Convert command-line arguments to values: texts, cells and runs."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from charrnn.config.settings import Config
from charrnn.errors import DataError, NotHereError, UsageError, shortened
from charrnn.system.progress import tell, warn

if TYPE_CHECKING:
    from charrnn.text.corpus import Corpus, CorpusPart
    from charrnn.text.vocab import EncodedText, IdArray, Vocab
    from charrnn.trained_model import TrainedModel


_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}
"""The character that a backslash and a letter stand for in a typed text."""


def parse_text(option: str, text: str) -> str:
    """Return the text that was typed for an option or an argument: \\n is a newline, \\t a tab and
    \\\\ a backslash. Raises UsageError for a backslash before anything else.

    Use it for every text that a user types, because a shell makes no newline of \\n; a file has its
    own.
    """

    def char_of(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise UsageError(
                f"{option} {shortened(text)}: {escape[0]} has no meaning. Write \\\\ for a"
                " backslash, \\n for a newline and \\t for a tab."
            )
        return _ESCAPES[escape[1]]

    return re.sub(r"\\(.?)", char_of, text, flags=re.DOTALL)


_ESCAPE_IN_WORD = re.compile(r"(?<!\\)(?:\\\\)*(\\[nt])([a-z]{2,})")
"""A typed escape with small letters behind it, which may be meant as a command of LaTeX."""


def note_escapes(option: str, typed: str, vocab: "Vocab") -> None:
    """Show a note if a text that was typed for `option` may mean a backslash where it was read as a
    newline or a tab: `\\newcommand`, for a model that knows the backslash.

    It comes after `parse_text`, once the model is loaded: only then is it known what was probably
    meant.
    """
    found = _ESCAPE_IN_WORD.search(typed)
    if found is None or "\\" not in vocab.characters:
        return
    escape, letters = found.groups()
    read_as = {"\\n": "a newline", "\\t": "a tab"}[escape]
    word = f"{escape}{letters}"
    tell(f"{option}: {escape} stands for {read_as}. For {word}, type a second backslash: \\{word}")


def parse_character(typed: str, alphabet: str) -> str:
    """Return the character that was typed for --why, in which escapes are those of other texts; for
    a model of bytes \\xe9 is a byte."""
    if alphabet == "byte" and typed.startswith("\\x"):
        return typed
    return parse_text("--why", typed)


def to_content(text: str, alphabet: str) -> str | bytes:
    """Return an argument as a model with this alphabet reads it: for `byte`, the bytes that were
    typed.

    What is typed on a command line are characters, and a model of bytes reads bytes.
    """
    return os.fsencode(text) if alphabet == "byte" else text


def read_text_corpus(source: str | Sequence[str], config: Config) -> "Corpus":
    """Read the file of --text, or the files of several, as `read_text_file` does.

    It is for a command that measures all of a text; `read_measured_text` reads a beginning, or a
    text of the run if there is no --text. Shows notes on characters that were left out or changed,
    and on other ways to read the text. Raises DataError if the file cannot be read or is empty.
    """
    from charrnn.text.given_text import read_text_file

    corpus = read_text_file(source, config)
    tell(*corpus.notes)
    return corpus


def read_prime(option: str, name: str, *, config: Config) -> str | bytes:
    """Return the text of a file, or of standard input (-), to be continued by a model with this
    configuration; bytes for the byte alphabet.

    It is read as the text of the run was. Raises DataError that names the `option`.
    """
    from charrnn.text.given_text import read_text_file, text_to_continue
    from charrnn.text.text_files import EmptyTextError

    try:
        corpus = read_text_file(name, config)
    except EmptyTextError:
        return to_content("", config.alphabet)
    except NotHereError as error:
        raise DataError(
            f"{option}: there is no file {shortened(error.source)!r}. Give a text file, or @- for"
            " standard input; a text that begins with @ begins with @@."
        ) from None
    except DataError as error:
        raise DataError(f"{option}: {error}") from None
    return text_to_continue(corpus, config)


WholeText: TypeAlias = "Corpus | CorpusPart | str | bytes"
"""A text that a command measures: the file of --text, a part of the run's text, or what an included
model has written."""


@dataclass(frozen=True, kw_only=True)
class MeasuredText:
    """The text on which a command measures a model, of which most commands need the beginning only.

    `visualize` and `explore` show the beginning, and may need the whole text for their findings:
    `read_ids`.

    It is read once: a pipe has nothing left at a second reading, and a document would be converted
    twice.
    """

    whole: WholeText
    """The whole text."""
    beginning: str | bytes
    """Its first characters, as many as were asked for."""
    context: str | bytes
    """What the model reads before it; "" for nothing."""
    encoded: "EncodedText"
    """The beginning as the model reads it, after the context."""

    @property
    def num_chars(self) -> int:
        """The number of characters of the whole text."""
        return len(self.whole)


def read_measured_text(
    model: "TrainedModel", source: str | None, num_chars: int, *, part: str = "validation"
) -> MeasuredText:
    """Read the file of --text or, if it is not given, a part of the run's text; of an included
    model, which has no validation text, the text that it writes. `num_chars` is the length of its
    beginning.

    Shows notes on a file as `read_text_corpus` does, and on characters that the model reads as
    similar ones. Raises DataError as `read_text_corpus` and `Model.held_out`.
    """
    from charrnn.model_texts import encode
    from charrnn.text.corpus import Corpus, CorpusPart
    from charrnn.text.documents import END
    from charrnn.text.given_text import stand_in_notes
    from charrnn.text.vocab import encode_text

    # A file has no text before it, but a held-out text follows the training text. Documents
    # begin after an END.
    context: str | bytes = ""
    if model.config.end_id is not None:
        context = END
    whole = read_whole_text(model, source, part=part)
    if isinstance(whole, Corpus):
        beginning = whole.text(0, num_chars)
        encoded = encode(model, beginning, context=context)
        tell(*stand_in_notes(model.name, encoded))
    else:
        beginning = whole[:num_chars]
        if isinstance(whole, CorpusPart):
            context = whole.context
        # As the run has read its own text: with the unknown symbol for what is rare.
        encoded = encode_text(model.vocab, text=beginning, context=context)
    return MeasuredText(whole=whole, beginning=beginning, context=context, encoded=encoded)


def read_whole_text(
    model: "TrainedModel", source: str | None, *, part: str = "validation"
) -> WholeText:
    """Read the text that `read_measured_text` reads and encodes the beginning of."""
    from charrnn.model_texts import held_out, written_text

    if source is not None:
        return read_text_corpus(source, model.config)
    if model.card and part == "validation":
        return written_text(model)
    return held_out(model, part)


def ids_of(model: "TrainedModel", whole: WholeText) -> tuple["IdArray", int]:
    """Return the ids of the context of a text and of the whole text, and the index of its first
    character. The ids of a large text of the run stay on the disk."""
    from charrnn.model_texts import encode
    from charrnn.text.corpus import Corpus, CorpusPart

    if isinstance(whole, CorpusPart):
        return whole.ids, whole.begin
    content = whole
    if isinstance(whole, Corpus):
        content = whole.content
    encoded = encode(model, content)
    return encoded.ids, encoded.first


_CELL = re.compile(r"(\d{1,9}):(\d{1,9})")
"""A cell as it is typed."""


def parse_cell(option: str, text: str, model: "TrainedModel") -> tuple[int, int]:
    """Parse the cell index (layer, unit) that is given to `option` as "layer:unit".

    The index is checked against the model, so that the error comes before the work.

    Raises UsageError if the text has another form or `model` has no such cell.
    """
    # Nine digits at most, so that a number is never too large to compare.
    match = _CELL.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{option} {text}: write a cell as layer:unit, both from 0, such as 0:17. Without a"
            " number `charrnn visualize` finds the cells that follow quotations, lines and more."
        )

    layer = int(match[1])
    unit = int(match[2])
    try:
        model.stepper.check_unit(layer, unit)
    except UsageError as error:
        raise UsageError(f"{option} {text}: {error}") from None
    return layer, unit


def load_model(run: str | None) -> "TrainedModel":
    """Load a run, by default the newest, and print its warnings.

    Most commands begin with it; one that loads by itself, to show something earlier, calls
    `introduce` afterwards. RUN@STEP is the checkpoint of a step. Prints the name of the newest run,
    if that was taken. Raises CheckpointError if there is no such run or step, or if no checkpoint
    of it can be verified.
    """
    from charrnn.trained_model import load

    model = load(run)
    introduce(model, run)
    return model


def introduce(model: "TrainedModel", run: str | None) -> None:
    """Print the warnings of a model, and its name if it is the newest run, so that `run` is None.

    It is for a command that has loaded the model by itself; `load_model` does both.
    """
    # A user who named a run knows its name.
    if run is None and model.path is not None:
        # Imported here: it imports NumPy, which the help needs not.
        from charrnn.runs.reader import RunReader

        tell(f"Run: {RunReader(Path(os.path.relpath(model.path))).name}")
    warn(*model.warnings)

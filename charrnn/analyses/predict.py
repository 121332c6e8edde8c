"""`charrnn predict`: the most likely next characters, why one of them comes, or every number of a
small network."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import RenderableType

from charrnn.analyses.backpropagation import model_backpropagation
from charrnn.analyses.numbers import MAX_UNITS, model_numbers
from charrnn.analyses.why import why
from charrnn.cli.arguments import (
    load_model,
    note_escapes,
    parse_character,
    parse_text,
    read_prime,
    read_text_corpus,
    to_content,
)
from charrnn.cli.command_options import ExportingOptions
from charrnn.cli.streams import deliver, export_destination
from charrnn.config.options import argument, option
from charrnn.config.settings import Config
from charrnn.errors import UsageError, shortened
from charrnn.generation.sample_options import DEFAULT_TOP, DEFAULT_UNKNOWN, UNKNOWN_HELP
from charrnn.reports import provenance
from charrnn.reports.provenance_page import to_page
from charrnn.system.files import with_home
from charrnn.system.progress import warn
from charrnn.text.corpus import Corpus
from charrnn.text.given_text import text_to_continue
from charrnn.trained_model import NUM_LEFT_OUT, SGD_LEARNING_RATE
from charrnn.views.delivery import Shown
from charrnn.views.tables import predictions_table

COMPUTATION = "How it is computed"
"""Group of the options in the help that print the numbers of a network."""
PASSAGES = "Copied and repeated passages"
"""Group of the options that compare a text with another one, or with itself."""
LEARNED_SHARE = 0.5
"""A text of which more stands in the text of a run is a part of that text."""
WHOLE_SHARE = 0.995
"""A text of which this share stands in the text of a run is shown as 100 % of it."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ExportingOptions):
    """The arguments and options of `charrnn predict`."""

    words: Sequence[str] = argument(
        "[RUN] TEXT",
        help="A run (the newest if left out), then the text before the character, or - for stdin.",
        default=(),
        may_be_empty=True,
    )
    character: str | None = option(
        None,
        flags="--why CHARACTER|next|end",
        help="Say why this character comes next: leave each earlier one out.",
    )
    chars: int = option(
        NUM_LEFT_OUT,
        flags="--chars N",
        help="With --why: how many of the last characters are left out.",
    )
    top: int = option(
        DEFAULT_TOP, flags="--top N", help="Without --why: how many next characters are shown."
    )
    unknown: str = option(
        DEFAULT_UNKNOWN,
        flags="--unknown WORD",
        help=UNKNOWN_HELP,
    )
    numbers: bool = option(
        False,
        flags="--numbers",
        help=f"Print every number of each step, of at most {MAX_UNITS} units.",
        panel=COMPUTATION,
    )
    backward: bool = option(
        False,
        flags="--backward",
        help="With --numbers: the gradient by every number, too.",
        panel=COMPUTATION,
    )
    trace: bool = option(
        False,
        flags="--trace",
        help="Show which passages stand in the training text.",
        panel=PASSAGES,
    )
    within: bool = option(
        False,
        flags="--within",
        help="Show which passages of the file stand in it twice.",
        panel=PASSAGES,
    )
    texts: Sequence[str] = option(
        (),
        flags="--text FILE",
        help="A file or folder in place of TEXT, with --trace or --within (repeatable).",
        panel=PASSAGES,
    )


def predict(options: PredictOptions) -> None:
    """Show the next characters, and why one of them comes; find copied and repeated passages.

    \b
    Examples:
      charrnn predict prose "It was the "
      charrnn predict prose "It was t" --why h
      charrnn predict --within --text novel.txt

    Prints each character that may follow TEXT with its probability. --why says why a character
    comes next: what its chance would be without each earlier one, and which cells carry it; next is
    the most likely one, end the end of a document. --numbers prints how the network computes it,
    step by step; --backward also how it learns from TEXT, by back-propagation through time, for
    rnn, lstm and gru.

    With --text FILE, --trace lists the passages of the file that stand in the training text, and
    --within those that stand in it twice, which needs no run: both with their places.

    In TEXT and CHARACTER, \\n is a newline, \\t a tab and \\\\ a backslash.
    """
    # A run and a text, or only a text; a file takes the place of the text.
    most = 1 if options.texts else 2
    if len(options.words) > most or not (options.words or options.texts):
        raise UsageError(
            "predict takes [RUN] TEXT, or [RUN] --text FILE. Put quotes around the text; several"
            " files each have a --text."
        )
    destination = export_destination(options, has_rows=True)

    if "" in options.words[:1] and (options.texts or len(options.words) > 1):
        raise UsageError("[RUN] is empty: give a name, or leave it out.")

    # A text may begin with ~, which is the folder of the user in the name of a run.
    if options.texts:
        run = next(map(with_home, options.words), None)
        _check_is_run(run)
        shown = _passages_of_files(run, options)
    else:
        *named, typed = options.words
        run = next(map(with_home, named), None)
        shown = _shown_of_text(run, typed=typed, options=options)
    deliver(shown, destination, as_json=options.json)


def _check_is_run(word: str | None) -> None:
    """Raise UsageError for a word beside --text that is a file or a folder, and no run: a second
    text without its option."""
    from charrnn.runs.reader import find

    if word is not None and Path(word).exists() and find(word) is None:
        raise UsageError(
            f"{shortened(word)} is no run. If it is another text, type --text before it, too:"
            f" --text {shortened(word)}"
        )


def _passages_of_files(run: str | None, options: PredictOptions) -> Shown:
    """Find the passages of files that stand in the text of a run or, with --within, again in the
    files."""
    if options.within:
        # A run says only how the files are read: their documents, their encoding.
        config = Config()
        if run is not None:
            config = load_model(run).config
        corpus = _read_files(options.texts, config)
        found = provenance.repeats_in(corpus)
    else:
        model = load_model(run)
        corpus = _read_files(options.texts, model.config)
        # The text of the run itself is one passage, which tells nobody anything.
        found = provenance.copies_in(corpus, provenance.read_reference_text(model))
        if found.share_copied > LEARNED_SHARE:
            learned = "this text"
            if found.share_copied < WHOLE_SHARE:
                learned = f"{100 * found.share_copied:.0f} % of this text"
            warn(f"{model.name} has learned {learned}: --within compares it with itself")

    title = f"Passages of {' and '.join(Path(text).name for text in options.texts[:3])}"
    if len(options.texts) > 3:
        title = f"Passages of {len(options.texts)} texts"
    # The text of a file may be long: a page shows it, and a terminal the places.
    page = ""
    if options.export is not None and options.export.suffix.lower() == ".html":
        page = to_page(found, corpus, title=title)
    return replace(_shown(found, pictures=found.figures(), title=title), page=page)


def _read_files(texts: Sequence[str], config: Config) -> Corpus:
    """Read the files and folders of --text. Raises UsageError for a file that is there twice, which
    would be one long repetition."""
    corpus = read_text_corpus(texts, config)
    seen: set[str] = set()
    for file in corpus.files:
        path = os.path.realpath(file.name)
        if path in seen:
            raise UsageError(f"--text: {shortened(file.name)} is given twice. Give it once.")
        seen.add(path)
    return corpus


def _shown_of_text(run: str | None, typed: str, options: PredictOptions) -> Shown:
    """Return what --numbers or --trace says of a text, or the most likely next characters."""
    from charrnn.runs.reader import find

    if run is None and find(with_home(typed)) is not None:
        raise UsageError(
            f"{typed} is a run, and the text is missing. Give a text after it, or - to read it from"
            f" standard input. If {typed} is the text, name a run before it."
        )
    text = parse_text("TEXT", typed)

    # A text in another alphabet is converted, or refused with the characters at fault.
    model = load_model(run)
    note_escapes("TEXT", typed=typed, vocab=model.vocab)
    content = to_content(text, alphabet=model.vocab.kind)
    if typed == "-":
        content = read_prime("standard input", typed, config=model.config)
        # `echo` adds a newline.
        if content[-1:] in ("\n", b"\n"):
            content = content[:-1]

    if options.character is not None:
        explained = why(
            model,
            text=content,
            character=parse_character(options.character, alphabet=model.vocab.kind),
            chars=options.chars,
            unknown=options.unknown,
        )
        return Shown(
            f"Why {model.name} writes a character",
            pictures=explained.view(),
            data={"run": model.name} | explained.to_json(),
            rows=explained.to_rows(),
        )
    if options.trace:
        reference_text = provenance.read_reference_text(model)
        found = provenance.find_copies(content, reference_text=reference_text)
        return _shown(found, pictures=found.view(), title=f"Provenance of a text, by {model.name}")
    if options.numbers:
        title = f"Numbers of {model.name}"
        if options.backward:
            gradients = model_backpropagation(
                model, text=content, learning_rate=SGD_LEARNING_RATE, unknown=options.unknown
            )
            return Shown(
                title,
                pictures=gradients.view(),
                data=gradients.to_json(),
                rows=gradients.to_rows(),
            )
        numbers = model_numbers(model, text=content, unknown=options.unknown)
        rows = numbers.to_rows()
        return Shown(title, pictures=numbers.view(), data=numbers.to_json(), rows=rows)

    predictions = model.generator.predict(
        text_to_continue(content, config=model.config), top=options.top, unknown=options.unknown
    )
    data = [asdict(prediction) for prediction in predictions]
    return Shown(
        f"Predictions of {model.name}",
        pictures=[predictions_table(predictions)],
        data=data,
        rows=data,
    )


def _shown(found: provenance.Provenance, pictures: Sequence[RenderableType], title: str) -> Shown:
    return Shown(
        title,
        pictures=pictures,
        data=found.to_json(),
        rows=[asdict(passage) for passage in found.passages],
    )

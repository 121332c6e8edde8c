"""The options of `charrnn sample`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charrnn.cli.command_options import ReplacingOptions, run_argument
from charrnn.config.options import at_least, one_of, option, option_group
from charrnn.generation.sample_options import (
    CLAMPING,
    DEFAULT_LENGTH,
    DOCUMENT_LENGTH,
    SAMPLE_TEMPERATURE,
    SEARCH,
    TEXT,
    SampleOptions,
)
from charrnn.views.delivery import describe_formats, is_table

COPIES = "Copies of the training text"
"""Panel of the options that compare a text with the training text."""


@dataclass(frozen=True, kw_only=True)
class SampleCommandOptions(ReplacingOptions):
    """The options of `charrnn sample`: `SampleOptions` itself, and typed texts that mean something
    only once the model is loaded."""

    run: str | None = run_argument()
    length: int | None = option(
        None,
        flags="--length N",
        help="Number of characters; a document has at most so many.",
        shown_default=f"{DEFAULT_LENGTH}, of a document {DOCUMENT_LENGTH}",
    )
    temperature: str | None = option(
        None,
        flags="--temp T[,T]",
        help="0 is greedy, 1 the model's own distribution; of several, such as 0.2,0.5,1, each"
        " has a text.",
        shown_default=str(SAMPLE_TEMPERATURE),
    )
    prime: str | None = option(
        None,
        flags="--prime TEXT|@FILE",
        help="Text to continue; printed first. @FILE, or @- for stdin, is not printed; @@ is an"
        " @. An empty one begins anywhere.",
    )
    drawing: SampleOptions = option_group(SampleOptions)
    cell: str | None = option(
        None,
        flags="--color WHAT",
        help="Colour the text by its surprise, or by a cell: surprise, or L:U; --json then has a"
        " number for each character.",
        panel=TEXT,
    )
    clamps: Sequence[str] = option(
        (),
        flags="--clamp L:U=V",
        help="Clamp cell U of layer L to V, from -1 to 1 (repeatable).",
        panel=CLAMPING,
    )
    width: int | None = option(
        None, flags="--beam N", help="Search for the most likely text with N beams.", panel=SEARCH
    )
    no_repeat: int | None = option(
        None,
        flags="--no-repeat N",
        help="Never generate the same N characters twice.",
        panel=SEARCH,
    )
    export: Path | None = option(
        None,
        flags="--export FILE",
        help="Write the text in colour, or several texts as the terminal shows them, to FILE:"
        f" {describe_formats()} (a row for each text).",
    )
    count: int | None = option(
        None,
        flags="--count N",
        help="Number of samples; with --beam: print the N best texts.",
        shown_default="1",
        allowed=at_least(1),
    )
    sort: str | None = option(
        None,
        flags="--sort likely|excess",
        help="Print the texts once all are drawn, the most likely first; excess: for their length.",
        allowed=one_of("likely", "excess"),
    )
    unique: bool = option(
        False, flags="--unique", help="Write no text twice, also not in other case.", panel=COPIES
    )
    new: bool = option(
        False,
        flags="--new",
        help="Draw again what is a document of this run's text, or of a text learned before it.",
        panel=COPIES,
    )
    no_copy: int | None = option(
        None,
        flags="--no-copy N",
        help="Never write more than N characters in a row that stand in the training text.",
        panel=COPIES,
        allowed=at_least(1),
    )
    trace: bool = option(
        False,
        flags="--trace",
        help="Show which passages stand in the training text; of several documents, print which"
        " stand in the run's text.",
        panel=COPIES,
    )

    @property
    def is_picture(self) -> bool:
        """Whether --export writes anything but a table, which has room for many texts."""
        return self.export is not None and not is_table(self.export)

    @property
    def is_chosen(self) -> bool:
        """Whether some of the drawn texts are left out."""
        return self.unique or self.new

    @property
    def is_single(self) -> bool:
        """Whether the first text that is drawn is the only one."""
        return self.count in (None, 1) and not self.is_chosen

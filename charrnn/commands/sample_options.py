"""The options of `charrnn sample`."""

from collections.abc import Sequence
from dataclasses import dataclass

from charrnn.cli.command_options import ExportingOptions, run_argument
from charrnn.config.options import at_least, one_of, option, option_group
from charrnn.errors import UsageError
from charrnn.generation.sample_options import (
    BEAMS,
    DEFAULT_LENGTH,
    DOCUMENT_LENGTH,
    SAMPLE_TEMPERATURE,
    TEXT,
    SampleOptions,
)

MAX_PICTURE_CHARS = 20_000
"""Most characters of the texts of a picture, which has a shape for each word."""
COPIES = "Copies of the training text"
"""Panel of the options that compare a text with the training text."""


@dataclass(frozen=True, kw_only=True)
class SampleCommandOptions(ExportingOptions):
    """The options of `charrnn sample`: `SampleOptions` itself, and typed texts that mean something
    only once the model is loaded."""

    run: str | None = run_argument()
    length: int | None = option(
        None,
        flags="--length N",
        help="Number of characters.",
        shown_default=f"{DEFAULT_LENGTH}, documents {DOCUMENT_LENGTH}",
    )
    temperature: str | None = option(
        None,
        flags="--temp T[,T]",
        help="How daring: 0 is greedy, 1 as trained.",
        shown_default=str(SAMPLE_TEMPERATURE),
    )
    """What was typed; `temperatures` has the numbers."""
    prime: str | None = option(
        None,
        flags="--prime TEXT|@FILE",
        help="Text to continue, or a file, or @- for stdin.",
        may_be_empty=True,
    )
    drawing: SampleOptions = option_group(SampleOptions)
    cell: str | None = option(
        None,
        flags="--color WHAT",
        help="Colour the text by a cell, L:U, or by surprise.",
        panel=TEXT,
    )
    clamps: Sequence[str] = option(
        (),
        flags="--clamp L:U=V",
        help="Hold cell U of layer L at V, -1 to 1 (repeatable).",
        panel=TEXT,
    )
    width: int | None = option(
        None,
        flags="--beam N",
        help="Search for the likeliest text, in N beams.",
        panel=TEXT,
        allowed=BEAMS,
    )
    no_repeat: int | None = option(
        None,
        flags="--no-repeat N",
        help="Never generate the same N characters twice.",
        is_hidden=True,
    )
    count: int | None = option(
        None,
        flags="--count N",
        help="Number of texts; with --beam, the N best.",
        shown_default="1",
        allowed=at_least(1),
    )
    sort: str | None = option(
        None,
        flags="--sort ORDER",
        help="Likeliest first: likely, or excess (given its length).",
        allowed=one_of("likely", "excess"),
    )
    unique: bool = option(
        False, flags="--unique", help="Never write the same text twice.", panel=COPIES
    )
    new: bool = option(
        False,
        flags="--new",
        help="Leave out what stands in the training text.",
        panel=COPIES,
    )
    no_copy: int | None = option(
        None,
        flags="--no-copy N",
        help="Copy no more than N characters in a row.",
        panel=COPIES,
        allowed=at_least(1),
    )
    trace: bool = option(
        False,
        flags="--trace",
        help="Show which passages stand in the training text.",
        panel=COPIES,
    )

    @property
    def temperatures(self) -> Sequence[float]:
        """The numbers of --temp; of several, each has a text.

        Raises UsageError for anything else, and for several beside options that are about a single
        temperature.
        """
        text = str(SAMPLE_TEMPERATURE)
        if self.temperature is not None:
            text = self.temperature
        try:
            temperatures = tuple(map(float, text.split(",")))
        except ValueError:
            wanted = "a number, or several with commas between them, such as 0.2,0.5,1"
            raise UsageError(f"--temp is {text}; it must be {wanted}.") from None

        is_alone = self.count is None and not (self.is_chosen or self.cell or self.trace)
        if len(temperatures) > 1 and not is_alone:
            raise UsageError(
                f"--temp {text} writes one text for each temperature: give one --temp, or leave out"
                " --count, --color, --trace, --unique and --new."
            )
        return temperatures

    @property
    def is_chosen(self) -> bool:
        """Whether some of the drawn texts are left out."""
        return self.unique or self.new

    @property
    def is_picture(self) -> bool:
        """Whether --export writes no table, which has room for texts of any length."""
        return self.export is not None and self.export.suffix.lower() != ".csv"

    def check_exported(self, num_chars: int) -> None:
        """Raise UsageError for texts that are too long for the format of --export."""
        if self.is_picture and num_chars > MAX_PICTURE_CHARS:
            raise UsageError(
                f"--export takes at most {MAX_PICTURE_CHARS:,} characters, and these are"
                f" {num_chars:,}. Give a smaller --length, or fewer texts."
            )

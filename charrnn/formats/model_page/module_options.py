"""The options of a module of JavaScript: one list, from which the module checks what it is given,
and its declaration tells TypeScript and editors the types."""

from dataclasses import dataclass

from charrnn.config.options import RANGE, Range
from charrnn.generation.sample_options import (
    DEFAULT_LENGTH,
    DOCUMENT_LENGTH,
    SAMPLE_TEMPERATURE,
    SeveralOptions,
)
from charrnn.trained_model import TrainedModel

TYPES = {
    "text": "string",
    "texts": "string | readonly string[]",
    "number": "number",
    "whole number": "number | bigint",
    "switch": "boolean",
}
"""The type in TypeScript of each kind of value."""


@dataclass(frozen=True)
class ModuleOption:
    """An option of `sample` in a module, which means what a field of `SeveralOptions` does."""

    name: str
    """Its name in JavaScript."""
    field: str
    """The field, whose range it has."""
    kind: str
    """The kind of its value, a key of `TYPES`."""
    about: str
    """What it is for, for the declaration."""
    default: object = None
    """Its value where it is left out; None for none."""
    least: int | None = None
    """The smallest number; None for a value that is no number."""

    @property
    def words(self) -> str:
        """What its value must be, in words: its kind, and the range of the field."""
        words = {
            "text": "a string",
            "texts": "a string or a list of strings",
            "switch": "true or false",
        }.get(self.kind, f"a {self.kind}")
        allowed: Range | None = SeveralOptions.__dataclass_fields__[self.field].metadata.get(RANGE)
        if self.kind == "texts":
            return f"{words}, of at least 1 character each"
        if allowed is None:
            return words
        return f"{words}, {allowed.words}"

    def to_json(self) -> dict[str, object]:
        """Return what the module needs to check a value, and to do without one."""
        return {
            "name": self.name,
            "kind": self.kind,
            "default": self.default,
            "least": self.least,
            "words": self.words,
        }


MODULE_OPTIONS = (
    ModuleOption(
        "prime",
        field="prime",
        kind="text",
        about='What the text begins with; "" stands for a line end. Without one it begins like the'
        " training text.",
    ),
    ModuleOption(
        "temperature",
        field="temperature",
        kind="number",
        default=SAMPLE_TEMPERATURE,
        least=0,
        about=f"How daring: 0 always takes the most likely character. By default"
        f" {SAMPLE_TEMPERATURE}.",
    ),
    ModuleOption(
        "length",
        field="length",
        kind="whole number",
        default=DEFAULT_LENGTH,
        least=0,
        about=f"Number of characters at most. By default {DEFAULT_LENGTH}, of a document"
        f" {DOCUMENT_LENGTH}.",
    ),
    ModuleOption(
        "seed",
        field="seed",
        kind="whole number",
        least=0,
        about="The same seed gives the same text. A new one without it.",
    ),
    ModuleOption(
        "stop",
        field="stops",
        kind="texts",
        default=(),
        about="The text ends before the first of these texts.",
    ),
    ModuleOption(
        "count",
        field="count",
        kind="whole number",
        least=1,
        about="Number of texts, which are then a list.",
    ),
    ModuleOption(
        "unique",
        field="unique",
        kind="switch",
        default=False,
        about="Never write the same text twice, whatever its case.",
    ),
    ModuleOption(
        "isNew",
        field="accept",
        kind="switch",
        default=False,
        about="Leave out what the model has read: for a module that was exported with --new.",
    ),
    ModuleOption(
        "knownWords",
        field="known_words",
        kind="switch",
        default=False,
        about="Write only words that the model has read: for a module that was exported with"
        " --known-words.",
    ),
)
"""The options of a module."""


def options_to_json(model: TrainedModel) -> list[dict[str, object]]:
    """Return what the module of a model needs of its options."""
    options = {option.name: option.to_json() for option in MODULE_OPTIONS}
    # The length at which the command cuts a document.
    if model.config.end_id is not None:
        options["length"]["default"] = DOCUMENT_LENGTH
    return list(options.values())


DECLARATION = """\
// The types of a module that charrnn has made, for TypeScript and for editors.

/** How texts are written. What is left out has the value that `charrnn sample` gives it. */
export interface SampleOptions {{
{options}
}}

/** Write texts, each of which begins with the prime. Throws a TypeError for a value that is
 * refused, and an Error where too many texts in a row are left out. */
export function sample(options: SampleOptions & {{ count: number | bigint }}): string[];
/** Write a text, which begins with the prime. Throws the same. */
export function sample(options?: SampleOptions & {{ count?: undefined }}): string;
"""
"""The declaration of a module, without its options."""
DECLARATION_MARK = DECLARATION.encode("utf-8")[:60]
"""By which a declaration is known that an earlier export wrote."""


def declaration() -> str:
    """Return the declaration of every module, in TypeScript."""
    lines = []
    for option in MODULE_OPTIONS:
        lines += [f"  /** {option.about} */", f"  {option.name}?: {TYPES[option.kind]};"]
    return DECLARATION.format(options="\n".join(lines))

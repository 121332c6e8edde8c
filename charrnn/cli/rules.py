"""Which options go together: one table, from which the errors and the reference are made.

The options that select and modify an analysis of `visualize` are declared with the analyses (`cli.analyses`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from charrnn.errors import UsageError
from charrnn.generation.options import DEFAULT_WIDTH

LEAVE_ONE = "Leave one of them out."
"""End of the message about two options that exclude each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When options are refused: beside others, or without others."""

    options: tuple[str, ...]
    """The options that are refused."""
    message: str
    """The error, with {option} for the option that is refused, {value} for its value and {other} for the one beside."""
    beside: tuple[str, ...] = ()
    """Refused if one of these is given."""
    without: tuple[str, ...] = ()
    """Refused unless one of these is given."""
    only_with: tuple[str, ...] = ()
    """The rule holds only if one of these is given, too."""


def refused(options: str, message: str, *, beside: str = "", without: str = "", only_with: str = "") -> Rule:
    """Return a rule; the options are separated by spaces."""
    others = {"beside": beside, "without": without, "only_with": only_with}
    return Rule(
        options=tuple(options.split()), message=message, **{name: tuple(text.split()) for name, text in others.items()}
    )


def exclusive(options: str, message: str) -> tuple[Rule, ...]:
    """Return the rules by which at most one of the options, which are separated by spaces, is given."""
    names = options.split()
    return tuple(refused(name, message, beside=" ".join(names[index + 1 :])) for index, name in enumerate(names[:-1]))


REPORTS = ("--by --ngrams --dynamic", "--errors --long-range", "--per-line", "--per-char")
"""The reports of `evaluate` that one call can print together."""
_ONE_TEXT = "{option} shows one text: leave out --count and --temps."
_ONE_MODEL = f"{{option}} is about one model, and --mix about several. {LEAVE_ONE}"
_JSON_OR_EXPORT = exclusive("--json --export", "Give --json or --export, not both.")
_MIX_MODE = refused(
    "--mix-mode", "{option} {value} belongs to --mix: add --mix RUN=0.3, or leave it out.", without="--mix"
)
RULES: dict[str, tuple[Rule, ...]] = {
    "sample": (
        *exclusive("--prime --prime-file", "Give --prime or --prime-file, not both."),
        refused(
            "--beam-mode --groups --diversity --length-penalty --no-repeat",
            f"{{option}} belongs to a beam search: add --beam {DEFAULT_WIDTH}, or leave it out.",
            without="--beam",
        ),
        refused(
            "--temp --top-k --top-p --min-p --max-line --temps --show-cell",
            f"{{option}} does not go with --beam, which searches for the most likely text. {LEAVE_ONE}",
            beside="--beam",
        ),
        refused(
            "--temp --count",
            f"{{option}} does not go with --temps, which draws a text for each temperature. {LEAVE_ONE}",
            beside="--temps",
        ),
        refused("--show-cell --novelty", _ONE_TEXT, beside="--temps"),
        refused("--novelty", _ONE_TEXT, beside="--count", only_with="--beam"),
        refused(
            "--show-cell",
            f"{{option}} does not go with --novelty, which colours the text too. {LEAVE_ONE}",
            beside="--novelty",
        ),
        refused("--show-cell", _ONE_TEXT, beside="--count"),
        refused("--min-copy", "{option} belongs to --novelty: add that, or leave it out.", without="--novelty"),
        _MIX_MODE,
        refused("--adapt --clamp --show-cell --novelty", _ONE_MODEL, beside="--mix"),
    ),
    "train": (
        refused(
            "--recipe --out --show-config",
            "--resume continues a run as it is: leave out --recipe, --out and --show-config.",
            beside="--resume",
        ),
    ),
    "visualize": (
        *_JSON_OR_EXPORT,
        *exclusive(
            "--guesses --sparkline", "--guesses and --sparkline are both drawn below the text: give one of them."
        ),
    ),
    "evaluate": (
        *(
            refused(
                group,
                "{option} and {other} are reports of their own: give one of them at a time.",
                beside=" ".join(other for other in REPORTS if other != group),
            )
            for group in REPORTS
        ),
        *exclusive("--part --text", "--part selects a part of the run's own text: give --part or --text, not both."),
        *_JSON_OR_EXPORT,
        refused(
            "--export",
            "--export {value}: the JSON Lines go to stdout; redirect them with >.",
            beside="--per-line --per-char",
        ),
        _MIX_MODE,
        refused("--errors --long-range --per-line --per-char", _ONE_MODEL, beside="--mix"),
    ),
    "runs": (
        *exclusive("--csv --json --export", "Give one of --csv, --json and --export."),
        refused("--csv", "--plot has no --csv: use --json, which prints the losses of every run.", beside="--plot"),
        refused(
            "--against --training --export",
            "{option} says how to draw learning curves: add --plot.",
            without="--plot",
        ),
    ),
}
"""The rules of each command, in the order in which they are checked."""


def is_given(value: object) -> bool:
    """Return whether an option with this value was given."""
    return value is not None and value is not False and value not in ("", [], ())


def check_rules(command: str, values: Mapping[str, object]) -> None:
    """Raise UsageError if options that were given do not go together. `values` has them by flag."""
    given = {flag for flag, value in values.items() if is_given(value)}
    for rule in RULES[command]:
        if (rule.only_with and not given & {*rule.only_with}) or (rule.without and given & {*rule.without}):
            continue
        other = next((flag for flag in values if flag in rule.beside and flag in given), None)
        option = next((flag for flag in rule.options if flag in given), None)
        if option is not None and (other is not None or not rule.beside):
            raise UsageError(rule.message.format(option=option, value=values[option], other=other))


def describe_rules(command: str, option: str) -> Iterable[str]:
    """Return sentences about the options that an option needs, and about those that it does not go with."""
    rules = RULES.get(command, ())
    own = [rule for rule in rules if option in rule.options]
    needed = [flag for rule in own for flag in rule.without]
    excluded = [flag for rule in own if not rule.only_with for flag in rule.beside]
    excluded += [flag for rule in rules if option in rule.beside and not rule.only_with for flag in rule.options]
    if needed:
        yield f"Needs {' or '.join(f'`{flag}`' for flag in dict.fromkeys(needed))}."
    if excluded:
        yield f"Not with {', '.join(f'`{flag}`' for flag in dict.fromkeys(excluded))}."

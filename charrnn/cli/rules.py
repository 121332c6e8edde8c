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


def exclusive(options: tuple[str, ...], message: str) -> tuple[Rule, ...]:
    """Return the rules by which at most one of the options is given."""
    return tuple(
        Rule(options=(option,), beside=options[index + 1 :], message=message)
        for index, option in enumerate(options[:-1])
    )


REPORTS = (("--by", "--ngrams", "--dynamic"), ("--errors", "--long-range"), ("--per-line",), ("--per-char",))
"""The reports of `evaluate` that one call can print together."""
_MIX_MODE = Rule(
    options=("--mix-mode",),
    without=("--mix",),
    message="{option} {value} belongs to --mix: add --mix RUN=0.3, or leave it out.",
)
RULES: dict[str, tuple[Rule, ...]] = {
    "sample": (
        *exclusive(("--prime", "--prime-file"), "Give --prime or --prime-file, not both."),
        Rule(
            options=("--beam-mode", "--groups", "--diversity", "--length-penalty", "--no-repeat"),
            without=("--beam",),
            message=f"{{option}} belongs to a beam search: add --beam {DEFAULT_WIDTH}, or leave it out.",
        ),
        Rule(
            options=("--temp", "--top-k", "--top-p", "--min-p", "--max-line", "--temps", "--show-cell"),
            beside=("--beam",),
            message=f"{{option}} does not go with --beam, which searches for the most likely text. {LEAVE_ONE}",
        ),
        Rule(
            options=("--temp", "--count"),
            beside=("--temps",),
            message=f"{{option}} does not go with --temps, which draws a text for each temperature. {LEAVE_ONE}",
        ),
        Rule(
            options=("--show-cell", "--novelty"),
            beside=("--temps",),
            message="{option} shows one text: leave out --count and --temps.",
        ),
        Rule(
            options=("--novelty",),
            beside=("--count",),
            only_with=("--beam",),
            message="{option} shows one text: leave out --count and --temps.",
        ),
        Rule(
            options=("--show-cell",),
            beside=("--novelty",),
            message=f"{{option}} does not go with --novelty, which colours the text too. {LEAVE_ONE}",
        ),
        Rule(
            options=("--show-cell",),
            beside=("--count",),
            message="{option} shows one text: leave out --count and --temps.",
        ),
        Rule(
            options=("--min-copy",),
            without=("--novelty",),
            message="{option} belongs to --novelty: add that, or leave it out.",
        ),
        _MIX_MODE,
        Rule(
            options=("--adapt", "--clamp", "--show-cell", "--novelty"),
            beside=("--mix",),
            message=f"{{option}} is about one model, and --mix about several. {LEAVE_ONE}",
        ),
    ),
    "train": (
        Rule(
            options=("--recipe", "--out", "--show-config"),
            beside=("--resume",),
            message="--resume continues a run as it is: leave out --recipe, --out and --show-config.",
        ),
    ),
    "visualize": (
        *exclusive(("--json", "--export"), "Give --json or --export, not both."),
        *exclusive(
            ("--guesses", "--sparkline"), "--guesses and --sparkline are both drawn below the text: give one of them."
        ),
    ),
    "evaluate": (
        *(
            Rule(
                options=group,
                beside=tuple(flag for other in REPORTS if other != group for flag in other),
                message="{option} and {other} are reports of their own: give one of them at a time.",
            )
            for group in REPORTS
        ),
        *exclusive(
            ("--part", "--text"),
            "--part selects a part of the run's own text: give --part or --text, not both.",
        ),
        *exclusive(("--json", "--export"), "Give --json or --export, not both."),
        Rule(
            options=("--export",),
            beside=("--per-line", "--per-char"),
            message="--export {value}: the JSON Lines go to stdout; redirect them with >.",
        ),
        _MIX_MODE,
        Rule(
            options=("--errors", "--long-range", "--per-line", "--per-char"),
            beside=("--mix",),
            message=f"{{option}} is about one model, and --mix about several. {LEAVE_ONE}",
        ),
    ),
    "runs": (
        *exclusive(("--csv", "--json", "--export"), "Give one of --csv, --json and --export."),
        Rule(
            options=("--csv",),
            beside=("--plot",),
            message="--plot has no --csv: use --json, which prints the losses of every run.",
        ),
        Rule(
            options=("--against", "--training", "--export"),
            without=("--plot",),
            message="{option} says how to draw learning curves: add --plot.",
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
        refused = next((flag for flag in rule.options if flag in given), None)
        if refused is not None and (other is not None or not rule.beside):
            raise UsageError(rule.message.format(option=refused, value=values[refused], other=other))


def describe_rules(command: str, option: str) -> Iterable[str]:
    """Return sentences about the options that an option needs, and about those that it does not go with."""
    rules = RULES.get(command, ())
    needed = [flag for rule in rules if option in rule.options for flag in rule.without]
    refused = [flag for rule in rules if option in rule.options and not rule.only_with for flag in rule.beside]
    refused += [flag for rule in rules if option in rule.beside and not rule.only_with for flag in rule.options]
    if needed:
        yield f"Needs {' or '.join(f'`{flag}`' for flag in dict.fromkeys(needed))}."
    if refused:
        yield f"Not with {', '.join(f'`{flag}`' for flag in dict.fromkeys(refused))}."

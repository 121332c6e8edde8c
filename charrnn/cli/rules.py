"""Which options go together: one table, from which the errors and the reference are made.

The options that select and modify an analysis of `visualize` are declared with the analyses (`cli.analyses`).
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from charrnn.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rule:
    """When options are refused: beside others, or without others. The flags are separated by spaces."""

    options: str
    """The options that are refused."""
    _: KW_ONLY
    beside: str = ""
    """Refused if one of these is given."""
    without: str = ""
    """Refused unless one of these is given."""
    why: str = ""
    """What the message says of the option beside."""


REPORTS = ("--by --ngrams --dynamic", "--errors --long-range", "--per-line", "--per-char")
"""The reports of `evaluate` that one call can print together."""
_SEARCHES, _MATCHES = "which searches for the most likely text", "whose text must match as a whole"
RULES: dict[str, tuple[Rule, ...]] = {
    "sample": (
        Rule("--prime", beside="--prime-file"),
        Rule("--beam-mode --groups --diversity --length-penalty --no-repeat", without="--beam"),
        Rule(
            "--temp --top-k --top-p --min-p --temp-at --max-line --color --precision",
            beside="--beam",
            why=_SEARCHES,
        ),
        Rule("--stop --keep-stop --max-line --no-repeat", beside="--match --words", why=_MATCHES),
        Rule("--words", beside="--match"),
        Rule("--color", beside="--novelty", why="which colours the text, too"),
        Rule("--color", beside="--count --json"),
        Rule("--mix-mode", without="--mix"),
        Rule("--adapt --clamp --novelty", beside="--mix"),
    ),
    "train": (Rule("--recipe --out --show-config", beside="--resume", why="which continues a run as it is"),),
    "visualize": (Rule("--json", beside="--export"), Rule("--guesses", beside="--sparkline")),
    "evaluate": (
        *(Rule(group, beside=" ".join(other for other in REPORTS if other != group)) for group in REPORTS),
        Rule("--part", beside="--text", why="which is no part of the run's own text"),
        Rule("--json", beside="--export"),
        Rule("--export", beside="--per-line --per-char", why="whose JSON Lines go to stdout"),
        Rule("--mix-mode", without="--mix"),
        Rule("--errors --long-range --per-line --per-char", beside="--mix"),
    ),
    "runs": (Rule("--json", beside="--export"), Rule("--against --training --export", without="--plot")),
}
"""The rules of each command, in the order in which they are checked."""


def is_given(value: object) -> bool:
    """Return whether an option with this value was given."""
    return value is not None and value is not False and value not in ("", [], ())


def check_rules(command: str, values: Mapping[str, object]) -> None:
    """Raise UsageError if options that were given do not go together. `values` has them by flag."""
    for rule in RULES[command]:
        option, other, needed = (
            next((flag for flag in flags.split() if is_given(values.get(flag))), None)
            for flags in (rule.options, rule.beside, rule.without)
        )
        if option is not None and other is not None:
            why = f", {rule.why}" if rule.why else ""
            raise UsageError(f"{option} does not go with {other}{why}. Leave one of them out.")
        if option is not None and rule.without and needed is None:
            raise UsageError(f"{option} needs {rule.without}: add it, or leave {option} out.")

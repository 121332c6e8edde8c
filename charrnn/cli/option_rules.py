"""Which options of a command go together: one table for all commands.

A command refuses what it would otherwise ignore. Add a row to `RULES` when an option has no effect
beside another one, or only with another one:

    Rule("--top --chars", beside="--find"),           neither goes with --find
    Rule("--chars", without="--cell --surprise"),     it needs one of the two
    Rule("--title", beside="--export=.csv"),          only files of this kind have no title
    Rule("--sort", beside="delete"),                  `charrnn runs delete`, whose first word it is

`tests/cli/test_option_rules.py` makes command lines from the rows and types them, so a new option
needs an example there. Errors and the reference are made from the rows, too.
"""

from collections.abc import Collection, Iterable
from dataclasses import KW_ONLY, dataclass

from charrnn.errors import UsageError


@dataclass(frozen=True)
class Rule:
    """A rule that refuses options: beside something, or without something.

    Each field is a list of what may be given, with blanks between: an option (`--top`), an option
    with this value (`--color=surprise`), a file with this suffix (`--export=.npz`), or the word
    after the command (`delete`).
    """

    options: str
    """The options that are refused."""
    _: KW_ONLY
    beside: str = ""
    """The options are refused if one of these is given."""
    without: str = ""
    """The options are refused unless one of these is given."""
    unless: str = ""
    """The rule does not apply if one of these is given."""
    why: str = ""
    """A clause for the message, about what stands beside."""


WRITES = (Rule("--export", beside="--json"), Rule("--force", without="--export"))
"""The rules of every command with --export."""
PART = Rule("--part", beside="--text", why="which is no part of the run's own text")
"""The rule of the commands with --part."""
VIEWS = ("--cell", "--surprise", "--find", "--evidence", "--gates", "--gradients")
"""The options that choose what `visualize` shows, of which one is given."""
_DRAWS = "--seed --temp --top-k --top-p --min-p --precision --color"
"""The options of text that is drawn at random."""
RULES: dict[str, tuple[Rule, ...]] = {
    "sample": (
        Rule("--no-repeat", without="--beam"),
        Rule("--sort --unique", without="--count"),
        Rule("--unknown", without="--prime"),
        Rule("--count --export", beside="--length=0", why="which writes no text"),
        # A search draws nothing at random.
        Rule(
            f"{_DRAWS} --no-copy --unique --new",
            beside="--beam",
            why="which searches for the most likely text",
        ),
        Rule("--stop --no-repeat", beside="--match", why="whose text must match as a whole"),
        # Colours have one meaning at a time, and belong to one text.
        Rule("--color", beside="--trace", why="which colours the text, too"),
        Rule("--color", beside="--count --unique --new"),
        Rule("--sort", beside="--trace --color --beam"),
        Rule("--unique --new", beside="--trace", why="which shows all that is drawn"),
        *WRITES,
    ),
    "train": (
        Rule(
            "--recipe --out --show-config --show-text",
            beside="--resume",
            why="which continues a run as it is",
        ),
        Rule("--show-text", beside="--show-config"),
        Rule("--out", beside="--show-config --show-text", why="which trains nothing"),
        Rule("--json", beside="--show-text", why="which prints a text"),
        Rule("--show-text", beside="--recipe=vanishing", why="which writes a text of its own"),
    ),
    "visualize": (
        # One picture at a time.
        *(Rule(view, beside=" ".join(VIEWS[index + 1 :])) for index, view in enumerate(VIEWS[:-1])),
        Rule("--why", beside="--cell --surprise --find --gates --gradients"),
        Rule("--detector --detect", beside="--surprise --gates --gradients"),
        Rule("--detector --detect", beside="--why", unless="--evidence"),
        Rule("--top", beside="--cell --find --evidence --gates --gradients"),
        Rule(
            "--top",
            beside="--json --export=.json --export=.csv",
            unless="--surprise",
            why="which has all rows of the table, and no passages",
        ),
        Rule("--top --find --guesses", beside="--export=.npz", why="which has all activations"),
        Rule("--recompute", beside="--surprise --gates --gradients --export=.npz"),
        Rule("--chars", without="--cell --surprise"),
        Rule("--guesses", without="--cell"),
        Rule("--guesses", beside="--detector --detect", why="which underlines the characters"),
        Rule("--with", without="--gradients"),
        PART,
        *WRITES,
    ),
    "predict": (
        Rule("--why", beside="--numbers --backward --trace --within --top --text"),
        Rule("--chars", without="--why"),
        Rule("--top", beside="--numbers --trace --within"),
        Rule("--trace", beside="--within"),
        Rule("--trace --within", beside="--numbers"),
        Rule("--text", without="--trace --within"),
        Rule("--within", without="--text"),
        Rule("--unknown", beside="--trace --within", why="which reads the text as it is"),
        Rule("--backward", without="--numbers"),
        *WRITES,
    ),
    "evaluate": (
        Rule("--windowed --ngrams", beside="--per-line", why="which lists lines, not losses"),
        PART,
        Rule("--export", beside="--per-line", why="whose JSON Lines go to stdout"),
        *WRITES,
    ),
    "runs": (
        Rule("--sort --plot --export --force", beside="delete check"),
        *WRITES,
    ),
    "corpora": (Rule("--kind", beside="show fetch", why="which takes one text"),),
}
"""The rules of each command, in the order in which they are checked."""


def check_rules(command: str, given: Iterable[str]) -> None:
    """Raise UsageError if what is given to a command does not go together.

    It is called before a command runs. A combination that depends on the model is refused where the
    model is known.

    Args:
        command: The name of the command.
        given: The options by their flags, and the other things that a `Rule` may name.
    """
    # Only the first broken rule is reported, in the order of the table.
    facts = set(given)
    for rule in RULES.get(command, ()):
        if problem := broken(rule, command=command, given=facts):
            raise UsageError(problem)


def broken(rule: Rule, *, command: str, given: Collection[str]) -> str:
    """Return the message about what is given, if it breaks a rule of a command; else ""."""
    option = _first_of(rule.options, given=given)
    if option is None or _first_of(rule.unless, given=given) is not None:
        return ""

    # Either an option too many, or an option that is missing.
    typed = as_typed(option, command=command)
    excluded_by = _first_of(rule.beside, given=given)
    if excluded_by is not None:
        why = ""
        if rule.why:
            why = f", {rule.why}"
        beside = as_typed(excluded_by, command=command)
        return f"{typed} does not go with {beside}{why}. Leave one of them out."
    if rule.without and _first_of(rule.without, given=given) is None:
        wanted = " or ".join(as_typed(one, command=command) for one in rule.without.split())
        return f"{typed} needs {wanted}: add it, or leave {typed} out."
    return ""


def as_typed(one: str, *, command: str) -> str:
    """Return what a rule names as it is typed: `--export .npz`, `charrnn runs delete`."""
    if one.startswith("--"):
        return one.replace("=", " ")
    return f"charrnn {command} {one}"


def _first_of(named: str, given: Collection[str]) -> str | None:
    """Return the first of some options and words that was given, or None."""
    return next((one for one in named.split() if one in given), None)

"""What goes with what: command lines that are made from the table of rules, and typed."""

from itertools import product

import pytest
from command_lines import run_line
from every_option import parameters_of_command

from charrnn.cli.option_rules import RULES, as_typed

LINES = {
    "sample": ["sample", "nosuch"],
    "train": ["train"],
    "visualize": ["visualize", "nosuch"],
    "predict": ["predict", "nosuch"],
    "evaluate": ["evaluate", "nosuch"],
    "runs": ["runs"],
    "corpora": ["corpora"],
}
"""The beginning of a line of each command with rules: rules come before a run is looked for."""
VALUES = {
    "--color": "surprise",
    "--export": "made.json",
    "--part": "test",
    "--precision": "fp32",
    "--sort": "likely",
    "--temp": "0.5",
    "--top-p": "0.5",
    "--min-p": "0.5",
    "--unknown": "nearest",
    "--why": "e",
}
"""What is typed for an option whose value may not be 2."""


def typed(command, *given):
    """Return a command line with everything that rules name in these texts."""
    takes_value = {one.flag: one.metavar for one in parameters_of_command(command)}
    words = [one for one in given if not one.startswith("--")]
    for one in given:
        flag, equals, value = one.partition("=")
        if not flag.startswith("--"):
            continue
        words.append(flag)
        if equals:
            if flag == "--export":
                value = f"made{value}"
            words.append(value)
        elif takes_value[flag]:
            words.append(VALUES.get(flag, "2"))
    return [*LINES[command], *words]


def with_needs(command, *given):
    """Return what is given, with the options without which it would be refused for another
    reason."""
    for rule in RULES[command]:
        wanted = rule.without.split()
        if wanted and set(rule.options.split()) & {*given} and not {*wanted} & {*given}:
            return with_needs(command, *given, wanted[0])
    return given


def excluded_pairs():
    """Yield a command and two that do not go together, for each pair of the table."""
    for command, rules in RULES.items():
        for rule in rules:
            for option, other in product(rule.options.split(), rule.beside.split()):
                yield command, option, other


def needed_options():
    """Yield a command, an option and those of which it needs one."""
    for command, rules in RULES.items():
        for rule in rules:
            if rule.without:
                yield from ((command, option, rule.without) for option in rule.options.split())


@pytest.mark.parametrize(("command", "option", "other"), list(excluded_pairs()))
def test_what_does_not_go_together_is_refused_by_both_names(command, option, other):
    given = with_needs(command, option, other)

    ran = run_line(typed(command, *given))

    # The table is read from its top, so that another pair among these may be the one that is named.
    ran.assert_refused(2, " does not go with ")
    pairs = {
        f"{as_typed(one, command=command)} does not go with {as_typed(another, command=command)}"
        for name, one, another in excluded_pairs()
        if name == command and {one, another} <= {*given}
    }
    assert any(pair in ran.err for pair in pairs)


@pytest.mark.parametrize(("command", "option", "wanted"), list(needed_options()))
def test_what_needs_another_option_is_refused_alone(command, option, wanted):
    ran = run_line(typed(command, option))
    ran.assert_refused(2, f"{option} needs {wanted.replace(' ', ' or ')}")


@pytest.mark.parametrize("command", RULES)
def test_rules_name_options_of_their_command(command):
    flags = {one.flag for one in parameters_of_command(command)}
    for rule in RULES[command]:
        named = " ".join((rule.options, rule.beside, rule.without, rule.unless)).split()
        named_flags = {one.partition("=")[0] for one in named if one.startswith("--")}
        assert named_flags <= flags

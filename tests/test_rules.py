"""The table of options that go together: every flag exists, and every rule refuses what it says and nothing else."""

import pytest
import typer.main

from charrnn.cli.app import app
from charrnn.cli.rules import RULES, Rule, check_rules
from charrnn.errors import UsageError

CASES = [(command, rule) for command, rules in RULES.items() for rule in rules]


@pytest.mark.parametrize("command", RULES)
def test_every_flag_of_the_table_is_an_option_of_its_command(command: str) -> None:
    group = typer.main.get_command(app)
    flags = {flag for one in group.commands[command].params for flag in one.opts}  # type: ignore[attr-defined]
    for rule in RULES[command]:
        assert {*f"{rule.options} {rule.beside} {rule.without}".split()} <= flags


@pytest.mark.parametrize(("command", "rule"), CASES)
def test_a_rule_refuses_each_of_its_options(command: str, rule: Rule) -> None:
    for option in rule.options.split():
        for other in rule.beside.split() or ("--quiet",):
            # Another rule may come first: the command is refused in any case.
            with pytest.raises(UsageError, match=r"does not go with|needs .*: add it"):
                check_rules(command, {option: "x", other: "y"})


@pytest.mark.parametrize("command", RULES)
def test_an_option_alone_is_refused_only_if_it_needs_another(command: str) -> None:
    rules = RULES[command]
    for option in {flag for rule in rules for flag in f"{rule.options} {rule.beside}".split()}:
        needs = any(option in rule.options.split() and rule.without for rule in rules)
        if needs:
            with pytest.raises(UsageError, match=option):
                check_rules(command, {option: "x"})
        else:
            check_rules(command, {option: "x"})

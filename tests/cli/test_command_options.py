"""The table of options that go together: every flag exists, and options are refused exactly if a
rule says so.

Tests `config.options`, too.
"""

import re
from itertools import combinations

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli.command_options import RULES, check_rules
from charrnn.commands.app import app
from charrnn.errors import UsageError

FLAGS = {
    command: sorted(
        {flag for rule in rules for flag in f"{rule.options} {rule.beside} {rule.without}".split()}
    )
    for command, rules in RULES.items()
}
GIVEN = st.sampled_from(["x", 0, 0.0, True, ["a"], -1])
ABSENT = st.sampled_from([None, False, "", [], ()])


@pytest.mark.parametrize("command", RULES)
def test_every_flag_of_the_table_is_an_option_of_its_command(command):
    group = typer.main.get_command(app)
    flags = {flag for one in group.commands[command].params for flag in one.opts}
    assert {*FLAGS[command]} <= flags


def check(command, values, given_flags):
    """Compare the error of some values with the first rule that is broken, if any."""
    for rule in RULES[command]:
        options = {*rule.options.split()} & given_flags
        beside = {*rule.beside.split()} & given_flags
        if options and beside:
            named, others = (
                r"(--[\w-]+) does not go with (--[\w-]+)(.*)\. Leave one of them out\.",
                beside,
            )
        elif options and rule.without and not {*rule.without.split()} & given_flags:
            named, others = (
                r"(--[\w-]+) needs (--[\w-]+)(?: or --[\w-]+)?(): add it, or leave \1 out\.",
                {*rule.without.split()},
            )
        else:
            continue
        with pytest.raises(UsageError) as refused:
            check_rules(command, values)
        found = re.fullmatch(named, str(refused.value))
        assert found[1] in options and found[2] in others, (
            values,
            refused.value,
        )
        assert found[3] == (f", {rule.why}" if rule.why and beside else "")
        return
    check_rules(command, values)


@pytest.mark.parametrize("command", RULES)
@given(data=st.data())
def test_options_are_refused_exactly_if_a_rule_says_so(command, data):
    chosen = data.draw(st.sets(st.sampled_from(FLAGS[command]), max_size=6))
    check(
        command,
        {flag: data.draw(GIVEN if flag in chosen else ABSENT) for flag in FLAGS[command]},
        chosen,
    )


@pytest.mark.parametrize("command", RULES)
def test_every_pair_of_options_is_refused_exactly_if_a_rule_says_so(command):
    for pair in ((), *((flag,) for flag in FLAGS[command]), *combinations(FLAGS[command], 2)):
        check(command, dict.fromkeys(pair, "x"), {*pair})

"""Both command lines: each help has an example that parses, and the page tells what they take."""

from __future__ import annotations

import argparse
import shlex

import pytest

from receipt_label.cli.completion import list_parsers
from support.commands_page import (
    PAGE,
    PROGRAMS,
    list_parts,
    read_examples,
    read_statuses,
    write_page,
)

PARSERS = [
    pytest.param(program, parser, id=parser.prog)
    for program in (make() for make in PROGRAMS)
    for parser in list_parsers(program)
]


def test_all_commands_are_found() -> None:
    names = {parameters.id for parameters in PARSERS}
    assert {"receipt-usage demo", "receipt-usage report", "receipt-usage table check"} <= names
    assert {"python -m receipt_dynamo", "python -m receipt_dynamo journal erase"} <= names


@pytest.mark.parametrize(("program", "parser"), PARSERS)
def test_help_has_an_example_and_it_parses(
    program: argparse.ArgumentParser, parser: argparse.ArgumentParser
) -> None:
    examples = read_examples(parser)
    assert examples
    for example in examples:
        assert example in parser.format_help()
        assert example.startswith(f"{parser.prog} ")
        words = shlex.split(example.partition(" > ")[0].removeprefix(program.prog))
        program.parse_args(words)


@pytest.mark.parametrize(
    ("program", "parser"), [each for each in PARSERS if not list_parts(each.values[1])]
)
def test_help_says_what_each_exit_status_means(
    program: argparse.ArgumentParser, parser: argparse.ArgumentParser
) -> None:
    statuses = read_statuses(parser)
    assert [status for status, _ in statuses] in (["0", "1", "2"], ["0", "2"])
    assert all(means for _, means in statuses)


@pytest.mark.parametrize(
    ("program", "parser"),
    [each for each in PARSERS if "--table" in each.values[1]._option_string_actions],
)
def test_what_reaches_a_table_or_a_journal_can_be_quiet_and_print_json(
    program: argparse.ArgumentParser, parser: argparse.ArgumentParser
) -> None:
    options = set(parser._option_string_actions)
    if parser.prog.endswith("table template"):  # It prints JSON, and nothing else.
        return
    assert {"--json", "--quiet"} <= options
    if " journal " not in parser.prog:
        assert {"--region", "--endpoint-url"} <= options


def test_the_page_tells_what_the_commands_take() -> None:
    stale = (
        "docs/commands.md is not what the commands say; run: python tests/support/commands_page.py"
    )
    assert PAGE.read_text(encoding="utf-8") == write_page(), stale

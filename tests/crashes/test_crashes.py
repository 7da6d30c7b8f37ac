"""A handful of the crash matrix; ``make crash-spread`` runs more of it, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crashes.crash import run_case
from crashes.matrix import ENGINES, FAULTS, STEPS, Case, choose_spread, list_all_cases
from engines.launch import Engine

HANDFUL = [
    Case(STEPS["send: DynamoDB has applied it"], "UnprocessedItems", "ministack"),
    Case(STEPS["adoption: nothing has been sent"], "Truncated", "ministack"),
    Case(STEPS["put: DynamoDB was never reached"], "LostReply", "ministack"),
    Case(STEPS["send: DynamoDB was never reached"], "Throttle", "ministack"),
]


@pytest.mark.parametrize("case", HANDFUL, ids=str)
def test_what_was_accepted_before_a_kill_is_in_the_table_once(
    case: Case, start_engine: Callable[[str], Engine], tmp_path: Path, table_name: str
) -> None:
    verdict = run_case(start_engine(case.engine), tmp_path, table_name, case=case, seed=1)
    assert verdict.complaints == []
    assert verdict.kills == case.step.kills
    assert 0 < verdict.accepted <= verdict.rows


def test_the_spread_has_each_step_each_fault_and_both_engines() -> None:
    spread = choose_spread(40)
    assert {case.step for case in spread} == set(STEPS.values())
    assert {case.fault for case in spread} == set(FAULTS)
    assert {case.engine for case in spread} == set(ENGINES)
    assert sum(case.step.kills for case in spread) >= 40
    assert set(spread) < set(list_all_cases())

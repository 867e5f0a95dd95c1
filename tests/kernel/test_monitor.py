from __future__ import annotations

import pytest

from llmos.engine.backend import Priority
from llmos.errors import BudgetExceeded, CallDenied
from llmos.kernel.monitor import Monitor
from llmos.kernel.process import Budget, Process
from llmos.kernel.syscalls import Outcome
from tests.kernel.kernels import row


async def run(_process, _arguments) -> Outcome:
    return Outcome("")


def process(**budget: float) -> Process:
    return Process(1, "", "", Priority.NORMAL, 0, 0.0, Budget(**budget))


@pytest.mark.parametrize("effect", ["pure", "read", "process", "memory"])
async def test_what_computes_or_reads_is_allowed(effect: str):
    Monitor().check(process(), row("t.c", run, effect=effect))


@pytest.mark.parametrize("effect", ["write", "execute", "egress", "", "PURE", "invented"])
async def test_everything_else_is_denied_and_an_unknown_effect_too(effect: str):
    with pytest.raises(CallDenied):
        Monitor().check(process(), row("t.c", run, effect=effect))


async def test_a_process_without_calls_left_makes_none():
    spender = process(calls=1)
    Monitor().check(spender, row("t.c", run))
    spender.charge(calls=1)
    with pytest.raises(BudgetExceeded):
        Monitor().check(spender, row("t.c", run))


async def test_a_child_spends_what_its_parent_has():
    parent, child = process(calls=2), process(calls=2)
    child.employer = parent
    child.charge(calls=1)
    parent.charge(calls=1)
    with pytest.raises(BudgetExceeded):
        Monitor().check(child, row("t.c", run))

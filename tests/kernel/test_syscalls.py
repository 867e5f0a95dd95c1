from __future__ import annotations

import pytest

from llmos.errors import KernelError, UnknownCall
from llmos.kernel.syscalls import Outcome, SyscallTable, process_calls
from tests.kernel.kernels import row


async def run(_process, _arguments) -> Outcome:
    return Outcome("")


def test_a_row_becomes_a_function_schema():
    [schema] = [r.function_schema for r in SyscallTable([row("t.c", run)])]
    assert schema["type"] == "function"
    assert schema["function"]["name"] == "t.c"
    assert schema["function"]["parameters"]["properties"] == {"n": {"type": "integer"}}


def test_two_calls_of_one_name_are_refused():
    with pytest.raises(KernelError, match="two calls named t.c"):
        SyscallTable([row("t.c", run), row("t.c", run)])


def test_an_unknown_call_is_told_what_there_is():
    table = SyscallTable([row("t.b", run), row("t.a", run)])
    assert len(table) == 2 and table.get("t.a").name == "t.a"
    with pytest.raises(UnknownCall, match=r"There are: t\.a, t\.b\."):
        table.get("t.z")
    assert [r.name for r in table.rows(["t.a"])] == ["t.a"]
    with pytest.raises(UnknownCall, match="none"):
        SyscallTable().get("x")


def test_the_kernels_own_calls_concern_processes_only():
    rows = process_calls(lambda: pytest.fail("not asked yet"))
    assert {r.name for r in rows} == {"process.spawn", "process.wait"}
    assert {r.effect for r in rows} == {"process"}

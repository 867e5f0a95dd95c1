"""What comes of a call on its way to the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmos.credentials import KEPT_OUT
from llmos.errors import CallFailed
from llmos.kernel.syscalls import Invocation, Outcome
from llmos.services import Artifact, Evidence
from tests.kernel.kernels import call, kernel_on, row, turn

TOKEN = "ghp_" + "Ab3" * 12
TEXT = f"token = {TOKEN}"


async def settings(_made: Invocation, _arguments: Mapping[str, Any]) -> Outcome:
    return Outcome(
        TEXT,
        (f"It says {TOKEN}",),
        artifacts=(Artifact("settings.ini", "text/plain", TEXT.encode()),),
        evidence=(Evidence("settings.ini", "settings.ini", TEXT),),
    )


async def broken(_made: Invocation, _arguments: Mapping[str, Any]) -> Outcome:
    raise CallFailed(f"{TOKEN} was refused.")


async def test_a_credential_in_a_result_reaches_neither_the_window_nor_the_journal(home: Path):
    rules = (
        (r"refused", "Done."),
        (r"token = ", "Done."),
        (r"fail", call("settings.fail")),
        (r"read", call("settings.read")),
    )
    calls = [row("settings.read", settings), row("settings.fail", broken)]
    async with kernel_on(home, rules, calls=calls) as kernel:
        pid = (await kernel.create()).pid
        for said in ("read", "fail"):
            await turn(kernel, pid, said)
        texts = [stored.message.content for stored in kernel.journal.messages(pid)]
        told = [text for text in texts if KEPT_OUT in text]
        assert sum("token = " in text or "refused" in text for text in told) == 3  # and evidence
        assert not any(TOKEN in text for text in texts)
    state = b"".join(path.read_bytes() for path in (home / "state").rglob("*.db*"))
    assert TOKEN.encode() not in state

from __future__ import annotations

from pathlib import Path

import pytest

from llmos import limits
from llmos.errors import NotStored, StoreError
from llmos.events import Message
from llmos.memory.facts import Facts
from llmos.memory.grants import Grant, Grants
from llmos.memory.journal import Journal


def grants(journal: Journal) -> Grants:
    return Grants(journal, Facts(journal).home)


async def test_what_is_allowed_is_there_again_after_a_restart(tmp_path: Path):
    journal = Journal(tmp_path / "journal.db")
    pid = (await journal.create_process()).pid
    known = grants(journal)
    call = await known.give(Grant(call="mail.send", arguments={"to": "a@x.org"}, pid=pid))
    folder = await known.give(Grant(folder="/home/me", write=True, why="you granted it"))
    gone = await known.give(Grant(call="files.*"))
    assert await known.revoke(gone.id) == gone
    await journal.close()
    journal = Journal(tmp_path / "journal.db")
    known = grants(journal)
    assert {grant.id for grant in known.all()} == {call.id, folder.id}
    assert known.of([pid]) == [folder, call]
    assert known.of([]) == [folder]
    with pytest.raises(NotStored):
        await known.revoke(gone.id)
    await journal.close()


async def test_the_same_grant_twice_is_one_and_there_is_a_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = Journal(tmp_path / "journal.db")
    known = grants(journal)
    first = await known.give(Grant(call="files.*"))
    assert await known.give(Grant(call="files.*")) == first
    monkeypatch.setattr(limits, "GRANTS_MAX", 1)
    with pytest.raises(StoreError):
        await known.give(Grant(call="mail.*"))
    await journal.close()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "nonsense", '{"call": 3}', '{"folder": "relative"}', '{"new": 1}']
)
async def test_what_cannot_be_understood_allows_nothing(tmp_path: Path, content: str):
    journal = Journal(tmp_path / "journal.db")
    home = await Facts(journal).home()
    await journal.append(home, Message("grant", content))
    assert grants(journal).all() == []
    await journal.close()

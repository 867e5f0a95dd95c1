"""``llmos grants`` against a real kernel, in a process of its own, on the scripted double."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.errors import LlmosError
from llmos.grants import allow_call, allow_folder, print_grants, revoke
from tests.served import prepare, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield home


async def test_a_person_allows_sees_and_takes_back(
    served: Path, capsys: pytest.CaptureFixture[str]
):
    await print_grants(as_json=False)
    assert "Nothing is allowed" in capsys.readouterr().out
    await allow_folder(str(served), write=True, pid=0)
    await allow_call("files.*", ("path=/data/*", "text=hello"), pid=0)
    capsys.readouterr()
    await print_grants(as_json=False)
    newest, oldest = capsys.readouterr().out.splitlines()
    assert 'make files.* with text = "hello", path = "/data/*"' in newest
    assert f"read and change {served.resolve()}" in oldest
    await revoke((newest.split()[0],))
    assert "Taken back: make files.*" in capsys.readouterr().out
    await revoke(("all",))
    await print_grants(as_json=True)
    assert capsys.readouterr().out.splitlines()[-1] == "[]"
    for wrong in (("files.*", ("path",)), ("no.such", ()), ("files.write", ("colour=red",))):
        with pytest.raises(LlmosError):
            await allow_call(*wrong, pid=0)
    with pytest.raises(LlmosError):
        await allow_folder(str(served / "nowhere"), write=False, pid=0)
    with pytest.raises(LlmosError):
        await revoke(("g999",))

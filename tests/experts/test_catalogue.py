"""The experts that are there, and what each may call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmos import limits, paths, sdk
from llmos.door import tools
from llmos.errors import ExpertError, SandboxMissing
from llmos.experts import install, lending
from llmos.experts.catalogue import Experts
from llmos.experts.permissions import Permissions
from tests.experts.conftest import plain


async def test_a_broken_expert_is_listed_and_harms_nobody(write, experts):
    write(name="good")
    write(name="bad", body="import nothing_of_that_name")
    write(name="worse", plugin=("format = 1", "format = 9"))
    write(name="other", body="def song() -> str:\n    '''Sing.'''\n    return ''")
    loaded = await experts()
    assert [expert.name for expert in loaded.all()] == ["good"]
    why = {broken.name: broken.sentence for broken in loaded.broken}
    assert "bird does not work: It needs the module nothing_of_that_name" in why["bad"]
    assert "format 9" in why["worse"]
    assert "The manifest names sing, but __init__.py has no such function" in why["other"]
    with pytest.raises(ExpertError, match=r"@worse is broken: .*format 9.*plugin info worse"):
        loaded.get("worse")
    with pytest.raises(ExpertError, match=r"There is no expert @nobody. Installed: @good\."):
        loaded.get("nobody")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("def sing(x) -> str:\n    '''Sing.'''\n    return ''", "x of sing has no type hint"),
        ("def sing(x: complex) -> str:\n    '''Sing.'''\n    return ''", "not supported"),
        ("raise SystemExit", "failed with an internal error"),
        ("import os; os._exit(0)", "ended without an answer"),
        (
            'import os\nos.write(3, b\'{"kind": "described", "calls": 3}\\n\')',
            "does not say what it takes",
        ),
        (
            'import os\nos.write(3, b\'{"kind": "described", "calls": '
            '{"sing": {"schema": {"$ref": "x"}}}}\\n\')',
            "What it takes cannot be read",
        ),
    ],
)
async def test_a_tool_that_cannot_be_described_breaks_its_expert(write, experts, body, sentence):
    write(body)
    loaded = await experts()
    assert loaded.all() == ()
    assert sentence in loaded.broken[0].sentence


async def test_the_cache_of_descriptions_is_bounded(write, experts, home, monkeypatch):
    monkeypatch.setattr(limits, "EXPERT_DESCRIBED", 2)
    for words in ("one", "two", "three"):
        write(plain(f"    return {words!r}"))
        assert (await experts()).all()
    assert len(list((paths.cache_dir() / "experts").iterdir())) == 2


async def test_code_that_hangs_when_it_is_imported_breaks_its_expert(write, experts, monkeypatch):
    monkeypatch.setattr(limits, "TOOL_LOAD_SECONDS", 0.2)
    write("while True: pass")
    loaded = await experts()
    assert "The tool bird takes too long to import" in loaded.broken[0].sentence


async def test_without_a_jail_an_expert_with_tools_is_broken_with_the_remedy(write, tmp_path):
    write()

    async def none() -> None:
        raise SandboxMissing("There is no jail.", remedy="Install bubblewrap.")

    loaded = Experts(none, bundled=tmp_path / "sources")  # type: ignore[arg-type]
    await loaded.load()
    assert [b.sentence for b in loaded.broken] == ["There is no jail. Install bubblewrap."]


async def test_what_is_installed_meanwhile_is_found(write, experts, tmp_path):
    loaded = await experts(tmp_path / "none")
    assert not await loaded.refresh()
    install.stage(write()).commit()
    assert await loaded.refresh()
    first = loaded.get("ornithologist").digest
    install.stage(write(plain("    return 'other'"))).commit()
    assert await loaded.refresh()
    assert loaded.get("ornithologist").digest != first
    install.remove("ornithologist")
    assert await loaded.refresh()
    assert loaded.all() == ()


async def test_an_expert_that_is_edited_while_the_kernel_runs_stops_being_there(
    write, experts, tmp_path
):
    install.stage(write()).commit()
    loaded = await experts(tmp_path / "none")
    folder = loaded.get("ornithologist").folder
    assert not await loaded.refresh()
    [code] = folder.rglob("__init__.py")
    kept, times = code.read_bytes(), code.stat()
    code.write_bytes(kept.replace(b"return", b"RETURN"))  # of the same size, and of the same time
    os.utime(code, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert await loaded.refresh()
    assert loaded.all() == ()
    assert "changed since it was installed" in loaded.broken[0].sentence
    code.write_bytes(kept)
    assert await loaded.refresh()
    assert [each.name for each in loaded.all()] == ["ornithologist"]


async def test_an_expert_calls_what_it_names_and_its_own(write, experts):
    write()
    expert = (await experts()).get("ornithologist")
    known = tools.load_all([paths.bundled("tools")]).calls
    calls = expert.calls(known)
    assert {name for name in calls if name.startswith("clock.")} == {
        name for name in known if name.startswith("clock.")
    }
    assert "calculator.evaluate" in calls
    assert "bird.sing" in calls
    assert set(calls) - set(known) == {"bird.sing"}
    assert not [
        name for name in calls if name.partition(".")[0] not in ("clock", "calculator", "bird")
    ]
    assert not expert.may_call("clockwork.now")
    assert not expert.may_call("calculator.other")


async def test_what_it_declares_bounds_the_calls_of_llmos_too(write, experts):
    class Folders:
        async def write(self, path: str, text: str, seen: str = "") -> str:
            raise AssertionError("it must not come here")

    write(permissions='folders = "read"')
    expert = (await experts()).get("ornithologist")
    call = (await experts()).get("ornithologist").own["bird.sing"]
    object.__setattr__(call, "uses", ("folders", "shell"))
    lent = expert.lend(call, {"folders": Folders(), "shell": Folders(), "web": Folders()})
    assert set(lent) == {"folders"}
    with pytest.raises(sdk.ToolError, match="not change it"):
        await lent["folders"].write("a", "b")


def test_every_method_of_a_service_has_its_effect():
    from llmos import services
    from llmos.experts.talk import _CONTRACTS

    assert set(lending.METHODS) == set(services.SERVICES) == set(_CONTRACTS)
    for name, contract in _CONTRACTS.items():
        methods = {m for m, f in vars(contract).items() if callable(f) and not m.startswith("_")}
        assert methods == set(lending.METHODS[name]), name


def test_nothing_is_lent_where_nothing_is_declared():
    services = dict.fromkeys(lending.METHODS, object())
    assert lending.lend(Permissions(), "egress", services, services) == {}


def test_experts_that_come_with_llmos_are_where_the_checkout_has_them():
    assert (paths.bundled("plugins") / "coder" / "plugin.toml").is_file()
    assert isinstance(paths.plugins_dir(), Path)

"""Every attempt to escape fails in every tier of this machine, and the same attempts get out where
there is no jail: a probe that cannot fail would prove nothing."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

import pytest

from llmos import paths
from llmos.bench.escapes import escapes
from llmos.errors import SandboxMissing
from llmos.sandbox import probes, tiers
from llmos.sandbox.attempts.registry import ATTEMPTS
from llmos.sandbox.child import spawn
from llmos.sandbox.jail import Jail, Task
from tests.sandbox.bare import Bare, BareJailed

linux = pytest.mark.skipif(sys.platform != "linux", reason="these jails are Linux's")

#: What anybody can do to their own files and processes where no jail keeps them from it.
GETS_OUT = (
    *("read_secret", "list_secrets", "read_other_workspace", "follow_symlink", "make_hard_link"),
    *("climb_with_dots", "through_own_root", "inherited_files", "inherited_folders"),
    *("create_outside", "folder_outside", "write_readable", "truncate_outside", "chmod_outside"),
    *("touch_outside", "rename_over", "move_inside", "delete_outside", "setuid_left_behind"),
    *("watch_folder", "through_root_of_another"),
    *("tcp4", "udp", "kernel_socket", "unix_in_readable", "unix_abstract", "receive_descriptor"),
    *("bound_outside", "netlink", "own_environment", "environment_of_others"),
    *("arguments_of_others", "memory_map_of_another", "shared_memory", "shared_memory_file"),
    *("signal_another", "signal_thread", "signal_group", "signal_by_descriptor"),
    *("signal_by_ownership", "slow_another", "limit_another", "trace_at_all"),
    *("program_from_memory", "preload", "personality", "daemon", "sparse_file"),
    *("many_descriptors", "open_file_in_socket", "pages_in_pipe", "watches_of_the_person"),
    "timers_of_the_person",
)


class Loose(Bare):
    """No jail at all: the program gets the environment and whatever is open."""

    async def start(self, task: Task) -> BareJailed:
        env = os.environ | {"API_TOKEN": "secret"}
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
        inherited = [fd for fd in fds if fd > 2 and _inheritable(fd)]
        program = await spawn(task.argv, env=env, fds=inherited, cwd=str(task.workspace))
        return BareJailed(program)


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # it was the one that listed them
        return False


class Dead(Bare):
    """A jail in which nothing runs."""

    async def start(self, task: Task) -> BareJailed:
        return BareJailed(await spawn(["/bin/false"], env={}, fds=()))


def out_of(probed: list[probes.Probed]) -> dict[str, str]:
    return {one.name: one.told for one in probed if not one.held}


@pytest.mark.parametrize("jail", tiers.available(), ids=lambda jail: jail.name)
async def test_no_attempt_gets_out_of_a_tier(jail: Jail) -> None:
    try:
        probed = await probes.probe(jail)
    except SandboxMissing as missing:
        pytest.skip(f"{jail.name}: {missing}")
    assert len(probed) >= 50
    assert out_of(probed) == {}


@linux
async def test_without_a_jail_the_same_attempts_get_out() -> None:
    harmless = [name for name, attempt in ATTEMPTS.items() if attempt.harmless]
    out = out_of(await probes.probe(Loose(), harmless))
    assert set(GETS_OUT) - out.keys() == set()


@linux
async def test_what_only_the_outside_sees_is_seen_outside() -> None:
    out = out_of(await probes.probe(Loose(), ("udp", "signal_another", "chmod_outside", "daemon")))
    assert out["udp"] == "it arrived outside"
    assert out["signal_another"] == "the signal arrived"
    assert out["chmod_outside"] == "it happened outside"
    assert out["daemon"] == "a process of it lives on"


async def test_a_jail_in_which_nothing_runs_holds_nothing() -> None:
    probed = await probes.probe(Dead(), ("read_secret", "endless_loop"))
    assert [one.held for one in probed] == [False, False]
    assert all("could not be tried" in one.told for one in probed)


async def test_an_attempt_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no attempt to escape called fly"):
        await probes.probe(Bare(), ["fly"])


def test_the_quick_attempts_are_among_all_and_none_of_them_waits() -> None:
    assert set(probes.QUICK) < set(probes.ALL)
    assert not any(ATTEMPTS[name].slow for name in probes.QUICK)
    assert {ATTEMPTS[name].group for name in probes.QUICK} == {
        *("files", "network", "processes", "privileges", "limits")
    }


def test_every_attempt_says_what_it_tries() -> None:
    assert all(attempt.about for attempt in ATTEMPTS.values())


async def test_nothing_of_a_probe_is_left() -> None:
    await probes.probe(Bare(), ["read_secret", "create_outside"])
    assert list((paths.state_dir() / "sandbox").glob("probe-*")) == []


async def test_the_bench_counts_attempts_by_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaky(jail: Jail) -> list[probes.Probed]:
        return [probes.Probed("tcp4", False, "connected"), probes.Probed("udp", True, "denied")]

    monkeypatch.setattr(probes, "probe", leaky)
    found = await escapes([Bare()])
    assert (found["tried"], found["held"]) == (2, 1)
    assert found["tiers"]["bare"]["out"] == {"tcp4": "connected"}


async def test_a_tier_that_is_not_there_is_not_offered() -> None:
    class Missing(Bare):
        async def start(self, task: Task) -> BareJailed:
            raise SandboxMissing("It is not installed.")

    found = await escapes([Missing()])
    assert found["tried"] == 0 and found["left_out"] == {"bare": "It is not installed."}


@linux
async def test_a_full_or_sick_state_directory_is_no_way_out_of_a_jail(home, monkeypatch):
    """Elsewhere the same is tried; nothing of it is left there."""
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    (home / "tmp").mkdir()
    jail = tiers.available()[0]
    usage = shutil.disk_usage(home)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=0))
    for state in (home, home / "a file" / "home"):
        (home / "a file").write_text("")
        monkeypatch.setenv("LLMOS_HOME", str(state))
        for result in await probes.probe(jail, ["list_state_directory", "read_secret"]):
            assert result.held, result.told
    assert list((home / "tmp").iterdir()) == []

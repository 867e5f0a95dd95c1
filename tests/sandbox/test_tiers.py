"""Which tier is chosen, with probes that tell what a machine might."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos import paths
from llmos.errors import CallFailed, SandboxMissing
from llmos.sandbox import bubblewrap, probes, tiers
from llmos.sandbox.jail import Jail, Task
from llmos.sandbox.probes import Probed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="These tiers are Linux's.")


@pytest.fixture(autouse=True)
def _untried() -> Iterator[None]:
    tiers.forget()
    yield
    tiers.forget()


def telling(monkeypatch: pytest.MonkeyPatch, **held: bool | Exception) -> list[str]:
    """Probes that hold or not, by tier; returns where it is written which were tried."""
    tried: list[str] = []

    async def probe(jail: Jail, which: object = None) -> list[Probed]:
        tried.append(jail.name)
        result = held[jail.name]
        if isinstance(result, Exception):
            raise result
        return [Probed("read_secret", True, "denied"), Probed("tcp", result, "connected")]

    monkeypatch.setattr(probes, "probe", probe)
    return tried


async def test_the_strongest_tier_that_holds_is_chosen_once(monkeypatch: pytest.MonkeyPatch):
    tried = telling(monkeypatch, bubblewrap=True, landlock=True)
    assert [(await tiers.best()).name for _ in range(3)] == ["bubblewrap"] * 3
    assert tried == ["bubblewrap"]


async def test_a_tier_with_one_way_out_is_not_used(monkeypatch: pytest.MonkeyPatch):
    telling(monkeypatch, bubblewrap=False, landlock=True)
    assert (await tiers.best()).name == "landlock"


async def test_a_tier_that_cannot_be_tried_is_not_used(monkeypatch: pytest.MonkeyPatch):
    telling(monkeypatch, bubblewrap=ZeroDivisionError(), landlock=True)
    assert (await tiers.best()).name == "landlock"


async def test_where_none_holds_the_person_is_told_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
):
    told = CallFailed("A jail could not be set up: setting up uid map: Permission denied.")
    tried = telling(monkeypatch, bubblewrap=told, landlock=False)
    for _ in range(2):
        with pytest.raises(SandboxMissing) as caught:
            await tiers.best()
    assert "Permission denied; landlock: 1 of 2 escapes" in caught.value.sentence
    assert "Install bubblewrap" in caught.value.remedy
    assert tried == ["bubblewrap", "landlock"]


async def test_it_is_tried_again_when_asked_to(monkeypatch: pytest.MonkeyPatch):
    telling(monkeypatch, bubblewrap=False, landlock=False)
    with pytest.raises(SandboxMissing):
        await tiers.best()
    telling(monkeypatch, bubblewrap=True, landlock=True)
    tiers.forget()
    assert (await tiers.best()).name == "bubblewrap"


async def test_without_bubblewrap_the_tier_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxMissing, match="not installed"):
        await bubblewrap.Bubblewrap().start(Task(("/bin/true",)))


async def test_this_machine_has_a_tier_that_holds():
    assert (await tiers.best()).name in [jail.name for jail in tiers.available()]


async def test_what_held_is_remembered_until_the_machine_starts_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    tried = telling(monkeypatch, bubblewrap=True, landlock=True)
    first = await tiers.best()
    monkeypatch.setattr(tiers, "_found", None)  # another process of llmos
    assert (await tiers.best()).name == first.name
    assert tried == ["bubblewrap"]
    monkeypatch.setattr(tiers, "_found", None)
    monkeypatch.setattr(tiers, "__version__", "another")
    await tiers.best()
    assert tried == ["bubblewrap", "bubblewrap"]
    for found in (b"", b"[]", b'{"tier": "bubblewrap"}'):
        monkeypatch.setattr(tiers, "_found", None)
        (paths.cache_dir() / "jails.json").write_bytes(found)
        await tiers.best()
    assert len(tried) == 5


async def test_a_weaker_tier_is_tried_again_by_every_kernel(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    tried = telling(monkeypatch, bubblewrap=False, landlock=True)
    for _ in range(2):
        monkeypatch.setattr(tiers, "_found", None)
        assert (await tiers.best()).name == "landlock"
    assert tried == ["bubblewrap", "landlock"] * 2

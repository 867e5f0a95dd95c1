"""What an expert may reach of the kernel's services: what it declared, as far as its call says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmos.door.toolfile import EFFECTS
from llmos.experts.lending import METHODS, lend
from llmos.experts.permissions import Permissions
from llmos.sdk import ToolError
from llmos.services import Page

ALL = Permissions(
    web=("docs.x.org",),
    search=True,
    folders="write",
    python=True,
    shell=True,
    timers=True,
    clipboard="write",
    machine=True,
)
DOCS = "https://docs.x.org/a"
EACH = [(name, method) for name, methods in METHODS.items() for method in methods]


class Service:
    """Notes what reaches it, and gives ``answer``."""

    def __init__(self, answer: Any = "done") -> None:
        self.answer = answer
        self.used: list[str] = []

    def __getattr__(self, method: str) -> Callable[..., Any]:
        async def use(*_: Any, **__: Any) -> Any:
            self.used.append(method)
            return self.answer

        return use


def lent(
    name: str, permissions: Permissions = ALL, effect: str = "egress", answer: Any = "done"
) -> tuple[Any, Service]:
    service = Service(answer)
    return lend(permissions, effect, [name], {name: service})[name], service


@pytest.mark.parametrize(("name", "method"), EACH)
async def test_a_call_can_use_what_its_effect_covers_and_nothing_beyond(name: str, method: str):
    needs = EFFECTS.index(METHODS[name][method])
    for at, effect in enumerate(EFFECTS):
        guarded, service = lent(name, effect=effect)
        if at >= needs:
            assert await getattr(guarded, method)(DOCS) == "done"
            assert service.used == [method]
        else:
            with pytest.raises(ToolError, match="cannot use"):
                await getattr(guarded, method)(DOCS)
            assert service.used == []


@pytest.mark.parametrize("name", METHODS)
def test_a_service_is_lent_where_it_is_declared_named_and_there(name: str):
    services = {each: Service() for each in METHODS}
    assert set(lend(ALL, "egress", [name], services)) == {name}
    assert lend(ALL, "egress", [name], {}) == {}
    assert lend(ALL, "egress", [], services) == {}
    assert lend(Permissions(), "egress", [name], services) == {}


@pytest.mark.parametrize("method", ["close", "nested", "run"])
def test_what_is_no_method_of_the_contract_is_not_there(method: str):
    guarded, _ = lent("folders")
    with pytest.raises(AttributeError):
        getattr(guarded, method)


@pytest.mark.parametrize(("name", "method"), EACH)
@pytest.mark.parametrize("field", ["folders", "clipboard"])
async def test_who_may_read_may_not_change(name: str, method: str, field: str):
    permissions = Permissions(
        web=ALL.web,
        search=True,
        python=True,
        shell=True,
        timers=True,
        machine=True,
        folders="read" if field == "folders" else "write",
        clipboard="read" if field == "clipboard" else "write",
    )
    guarded, service = lent(name, permissions)
    if name == field and METHODS[name][method] == "write":
        with pytest.raises(ToolError, match="not change it"):
            await getattr(guarded, method)(DOCS)
        assert service.used == []
    else:
        await getattr(guarded, method)(DOCS)
        assert service.used == [method]


@pytest.mark.parametrize("address", ["https://evil.example", "https://x.org", "x.org", None])
async def test_only_declared_sites_are_read(address: Any):
    for asked in (lambda web: web.read(address), lambda web: web.read(address=address)):
        guarded, service = lent("web")
        with pytest.raises(ToolError, match="may not read that site"):
            await asked(guarded)
        assert service.used == []
    guarded, service = lent("web")
    with pytest.raises(ToolError):
        await guarded.read()
    await guarded.read(address=DOCS)
    assert service.used == ["read"]


async def test_a_page_that_lies_elsewhere_in_the_end_is_not_handed_on():
    guarded, _ = lent("web", answer=Page("https://evil.example", "", "text"))
    with pytest.raises(ToolError, match="leads to a site"):
        await guarded.read(DOCS)
    guarded, _ = lent("web", answer=Page(DOCS, "", "text"))
    assert (await guarded.read(DOCS)).text == "text"


async def test_who_may_read_sites_may_not_search_for_others():
    guarded, service = lent("web", Permissions(web=("docs.x.org",)))
    with pytest.raises(ToolError, match="may not search"):
        await guarded.search("anything")
    assert service.used == []

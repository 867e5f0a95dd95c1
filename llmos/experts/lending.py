"""What an expert may reach of the kernel's services: what it declared, and no more.

Every service is lent behind a guard. A method can be used where the expert's permissions declare
it and the call's own effect covers it: a call that says ``read`` cannot write, whatever the
permissions say. It does not judge whether the call may be made at all; that is the monitor's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmos.door.toolfile import EFFECTS
from llmos.experts.permissions import Permissions
from llmos.sdk import ToolError
from llmos.services import Page

__all__ = ["METHODS", "lend"]

#: By service and method, the least effect of a call that may use it.
METHODS: dict[str, dict[str, str]] = {
    "web": {"read": "egress", "search": "egress"},
    "folders": {
        **dict.fromkeys(("roots", "list", "read", "content", "search", "preview"), "read"),
        **dict.fromkeys(("write", "overwrite", "append", "edit"), "write"),
        **dict.fromkeys(("copy", "move", "delete", "undo"), "write"),
    },
    # What happens in the conversation's own jail changes nothing outside it.
    "interpreter": {"run": "pure", "evaluate": "pure", "put": "pure"},
    "shell": {"run": "execute"},
    "timers": {"list": "read", "set": "write", "cancel": "write"},
    "clipboard": {"read": "read", "write": "write"},
    "machine": {"status": "read"},
}


def lend(
    permissions: Permissions, effect: str, uses: Iterable[str], services: Mapping[str, Any]
) -> dict[str, Any]:
    """The services of one call, guarded.

    Args:
        permissions: What the expert declared.
        effect: Of the call, one of ``toolfile.EFFECTS``.
        uses: Services its tool names.
        services: What the kernel has.
    """
    return {
        name: _Guarded(name, permissions, effect, services[name])
        for name in uses
        if name in services and permissions.lends(name)
    }


class _Guarded:
    """A service, of which only what is declared can be called."""

    def __init__(self, name: str, permissions: Permissions, effect: str, service: Any) -> None:
        self._name, self._permissions, self._effect = name, permissions, effect
        self._service = service

    def __getattr__(self, method: str) -> Callable[..., Any]:
        needs = METHODS[self._name].get(method)
        if needs is None:
            raise AttributeError(method)

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if EFFECTS.index(self._effect) < EFFECTS.index(needs):
                raise ToolError(
                    f"A call whose effect is “{self._effect}” cannot use {self._name}.{method}.",
                    f'Its manifest would have to say: effect = "{needs}".',
                )
            self._declared(method, needs, args, kwargs)
            answer = await getattr(self._service, method)(*args, **kwargs)
            if isinstance(answer, Page) and not self._permissions.reaches(answer.address):
                raise ToolError("The page leads to a site that this expert may not read.")
            return answer

        return guarded

    def _declared(
        self, method: str, needs: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Check one use against the permissions.

        Raises:
            ToolError: It is not declared.
        """
        may = self._permissions
        match self._name, method:
            case "web", "read":
                address = args[0] if args else kwargs.get("address")
                if not isinstance(address, str) or not may.reaches(address):
                    raise ToolError(
                        "This expert may not read that site.",
                        f"It may read {', '.join(may.web) or 'none'}.",
                    )
            case "web", "search":
                if not may.search:
                    raise ToolError("This expert may not search the web.")
            case ("folders" | "clipboard") as name, _:
                granted = may.folders if name == "folders" else may.clipboard
                if needs == "write" and granted != "write":
                    raise ToolError(f"This expert may read {_OBJECTS[name]}, not change it.")


_OBJECTS = {"folders": "what is in the folders", "clipboard": "the clipboard"}

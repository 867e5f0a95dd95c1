"""``/kernel/v1/reminders``: what conversations will be reminded of, and taking it back.

Reminders are set in conversations only: a person says there when they want one.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses
from llmos.services import Timer
from llmos.visible import encodable

__all__ = ["router"]


class ReminderRow(BaseModel):
    """Something a conversation will be reminded of."""

    id: str
    due: Annotated[float, Field(description="Seconds since the epoch.")]
    text: Annotated[str, Field(description="Empty for a timer without words.")]
    pid: Annotated[int, Field(description="The conversation that is woken.")]
    title: Annotated[str, Field(description="Of that conversation.")]


class ReminderList(BaseModel):
    reminders: list[ReminderRow]


ReminderId = Annotated[str, Path(pattern=r"^t\d{1,18}$", description="Such as t3.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["reminders"], route_class=JsonRoute)

    @routes.get("/reminders", responses=responses())
    async def reminders() -> ReminderList:
        """Reminders of all conversations that are still to come, the next one first."""
        return ReminderList(reminders=[_row(each) for each in kernel.reminders()])

    @routes.delete("/reminders/{id}", responses=responses(400, 404, 409))
    async def cancel(id: ReminderId) -> ReminderRow:
        """Take a reminder back."""
        return _row(await kernel.cancel_reminder(id))

    return routes


def _row(timer: Timer) -> ReminderRow:
    return ReminderRow(
        id=timer.id,
        due=timer.due,
        text=encodable(timer.text),
        pid=timer.pid,
        title=encodable(timer.title),
    )

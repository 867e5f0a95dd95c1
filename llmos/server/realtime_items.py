"""The items of one Realtime conversation: what a client can name, and what waits for an answer.

A message of the person reaches the kernel when an answer to it is wanted, and only then. Until then
it can be deleted; afterwards it stands in the journal, and is llmos's to forget.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from llmos import limits
from llmos.server.realtime_events import new_id
from llmos.server.realtime_response import Response
from llmos.server.realtime_settings import Refusal

__all__ = ["Items", "spoken_item", "written_item"]


class Items:
    """Newest last."""

    def __init__(self) -> None:
        self.conversation = new_id("conv")
        self.last: str | None = None
        self._items: OrderedDict[str, dict[str, Any] | Response] = OrderedDict()
        self._waiting: dict[str, str] = {}  # texts nobody has answered, by item

    def add(self, id: str, item: dict[str, Any] | Response) -> str | None:
        """Add an item at the end; of too many the oldest is no longer found.

        Returns:
            Id of the item before; None where there is none.
        """
        previous, self.last = self.last, id
        self._items[id] = item
        if len(self._items) > limits.REALTIME_ITEMS:
            oldest, _ = self._items.popitem(last=False)
            self._waiting.pop(oldest, None)
        return previous

    def replace(self, id: str, item: dict[str, Any]) -> None:
        """Have an item, if it is still there, be another from here on."""
        if id in self._items:
            self._items[id] = item

    def placed(self, id: str | None, after: str | None) -> str:
        """The id of an item that a client adds.

        Raises:
            Refusal: It is taken, or the item would not come last.
        """
        if after not in (None, self.last) and (after != "root" or self.last is not None):
            sentence = "An item can only be added at the end of the conversation."
            raise Refusal(sentence, param="previous_item_id")
        if id is not None and id in self._items:
            raise Refusal(f"There is an item '{id}' already.", param="item.id")
        return id or new_id("item")

    def item(self, id: str) -> dict[str, Any]:
        """An item as it is now.

        Raises:
            Refusal: There is none of that id.
        """
        found = self._find(id)
        return found.item if isinstance(found, Response) else found

    def answer(self, id: str) -> Response:
        """The answer of an item, which has sound.

        Raises:
            Refusal: It is none.
        """
        found = self._find(id)
        if not isinstance(found, Response) or not found.spoken:
            sentence = "Only an answer that was spoken can be cut."
            raise Refusal(sentence, param="item_id")
        return found

    def _find(self, id: str) -> dict[str, Any] | Response:
        found = self._items.get(id)
        if found is None:
            sentence = f"There is no item '{id[: limits.REALTIME_ID_CHARS]}' in this session."
            raise Refusal(sentence, param="item_id", code="item_not_found")
        return found

    # --- what waits -------------------------------------------------------------------------

    def wait(self, id: str, text: str) -> None:
        """Have a text of the person wait for an answer."""
        if text.strip():
            self._waiting[id] = text

    def require_room(self) -> None:
        """Raises:
        Refusal: Too many messages wait.
        """
        if len(self._waiting) >= limits.REALTIME_WAITING:
            sentence = f"{limits.REALTIME_WAITING} messages wait for an answer. Ask for one."
            raise Refusal(sentence, code="too_many_items")

    @property
    def waiting(self) -> tuple[str, ...]:
        """Ids of what waits, oldest first."""
        return tuple(self._waiting)

    def text(self, ids: Sequence[str] | None = None) -> str:
        """What waits, as one message."""
        return "\n".join(self._waiting[id] for id in ids or self._waiting)

    def answered(self, ids: Sequence[str]) -> None:
        """These wait no more."""
        for id in ids:
            self._waiting.pop(id, None)

    def delete(self, id: str) -> None:
        """Take back what waits.

        Raises:
            Refusal: It is not there, or it waits no more.
        """
        self._find(id)
        if id not in self._waiting:
            sentence = "It stands in the conversation. llmos memory forgets it."
            raise Refusal(sentence, param="item_id", code="item_answered")
        del self._waiting[id], self._items[id]
        if self.last == id:
            self.last = next(reversed(self._items), None)


def written_item(id: str, text: str) -> dict[str, Any]:
    """What the person wrote."""
    return _item(id, {"type": "input_text", "text": text})


def spoken_item(id: str, transcript: str | None = None) -> dict[str, Any]:
    """What the person said, None where it is not written down."""
    return _item(id, {"type": "input_audio", "transcript": transcript})


def _item(id: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [content],
    }

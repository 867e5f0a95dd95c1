"""What calls gave, and what answers rest on: kept in the journal.

A result is on the disk before the model sees it. What belongs to it, the files it made, the values
it vouches for, what can be cited, stands in records of its own behind it, so that nothing of what
is in view ever changes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import asdict

from llmos.errors import LlmosError
from llmos.events import ArtifactsMade, Cited, Event, Message, Source, ToolCall
from llmos.kernel.artifacts import Artifacts
from llmos.kernel.calling import Answer
from llmos.kernel.citations import Checked, check
from llmos.kernel.evidence import Exhibits
from llmos.kernel.transcript import Transcript
from llmos.kernel.turn import Turn
from llmos.labels import Label, Origin
from llmos.memory.journal import Journal, new_id
from llmos.memory.pages import Kind

__all__ = ["Results"]

log = logging.getLogger(__name__)


class Results:
    """Keeps results.

    Args:
        journal: Where they are kept.
        transcript: Shows them to the model.
        artifacts: Keeps the files.
        exhibits: Keeps what can be cited.
        publish: Takes events.
    """

    def __init__(
        self,
        journal: Journal,
        transcript: Transcript,
        artifacts: Artifacts,
        exhibits: Exhibits,
        publish: Callable[[Event], None],
    ) -> None:
        self._journal = journal
        self._transcript = transcript
        self._artifacts = artifacts
        self._exhibits = exhibits
        self._publish = publish

    async def keep(self, turn: Turn, call: ToolCall, answer: Answer) -> None:
        """Keep one result, and show it to the model.

        Raises:
            StoreError: It cannot be kept.
        """
        outcome = answer.outcome
        stored = await self._transcript.keep(
            turn.process,
            turn.number,
            Message("tool", outcome.text, call_id=call.id, name=call.name),
            label=outcome.label,
            error=answer.error,
            seconds=answer.seconds,
        )
        if answer.exhibits:
            label = outcome.label or Label(Origin.PLUGIN)
            await self._exhibits.keep(
                turn.process.pid, turn.number, call.id, answer.exhibits, label, stored.id
            )
        if outcome.vouched or outcome.said:
            beside = {"vouched": list(outcome.vouched), "said": list(outcome.said)}
            content = json.dumps(beside, ensure_ascii=False)
            await self._beside(turn, call, Kind.VOUCHED, content, stored.id)
        if outcome.artifacts:
            await self._keep_files(turn, call, answer, stored.id)

    async def _keep_files(self, turn: Turn, call: ToolCall, answer: Answer, source: str) -> None:
        try:
            infos = await asyncio.to_thread(self._artifacts.keep, answer.outcome.artifacts)
        except (LlmosError, OSError) as error:  # the result itself is kept
            log.warning("the files of %s are not kept: %s", call.name, error)
            return
        content = json.dumps([asdict(info) for info in infos], ensure_ascii=False)
        seq = await self._beside(turn, call, Kind.ARTIFACT, content, source)
        self._publish(
            ArtifactsMade(
                pid=turn.process.pid, seq=seq, turn=turn.number, call_id=call.id, artifacts=infos
            )
        )

    async def _beside(
        self, turn: Turn, call: ToolCall, kind: Kind, content: str, source: str
    ) -> int:
        """Keep what belongs to a result; it is forgotten with it."""
        stored = await self._journal.append(
            turn.process.pid,
            Message(kind, content, call_id=call.id, name=call.name),
            turn=turn.number,
            label=Label(Origin.SYSTEM, (source,)),
            id=new_id(),
        )
        return stored.seq

    async def checked(self, turn: Turn, text: str) -> Checked:
        """An answer with those citations that hold."""
        exhibits = await self._exhibits.of(turn.process.pid)
        return await asyncio.to_thread(check, text, exhibits) if exhibits else Checked(text)

    async def cite(self, turn: Turn, message_id: str, checked: Checked) -> None:
        """Keep what an answer rests on, and tell of it."""
        if not checked.citations and not checked.dropped:
            return
        sources = tuple(
            Source(each.number, each.title, each.address, each.quote, each.sentence)
            for each in checked.citations
        )
        kept = {"sources": [asdict(each) for each in sources], "dropped": list(checked.dropped)}
        stored = await self._journal.append(
            turn.process.pid,
            Message(Kind.CITED, json.dumps(kept, ensure_ascii=False), name=message_id),
            turn=turn.number,
            label=Label(Origin.SYSTEM, (message_id,)),
            id=new_id(),
        )
        self._publish(
            Cited(
                pid=turn.process.pid,
                seq=stored.seq,
                turn=turn.number,
                message_id=message_id,
                sources=sources,
                dropped=checked.dropped,
            )
        )

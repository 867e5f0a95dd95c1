"""/v1/realtime, driven by the official client against a real kernel on the scripted double."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from llmos.config import AgentConfig
from llmos.errors import ModelMissing
from llmos.events import BY_REMINDER, REMINDER, TurnFinished
from llmos.kernel.syscalls import Outcome
from llmos.labels import Origin
from llmos.server.realtime_ear import Detection
from llmos.server.realtime_settings import SessionUpdate, Settings
from tests.kernel.kernels import call, kernel_on, row
from tests.server.talking import WORD_S, Devices, Server, Talk, server, silence, speech

REPLY = "Well, that depends. One two three, four five six seven, and eight."
RULES = [("weather", "It will rain."), ("story", "word " * 200), ("depends", REPLY)]


class Rig:
    """A kernel, its server, and what was asked of the kernel."""

    def __init__(self, kernel: Any, served: Server, devices: Devices | None) -> None:
        self.kernel = kernel
        self.served = served
        self.devices = devices
        self.heard: list[tuple[int, int, str]] = []
        self.drafts: asyncio.Queue[str] = asyncio.Queue()

        keep, draft = kernel.heard, kernel.draft

        async def heard(pid: int, turn: int, text: str) -> None:
            self.heard.append((pid, turn, text))
            await keep(pid, turn, text)

        async def drafted(pid: int, text: str) -> None:
            self.drafts.put_nowait(text)
            await draft(pid, text)

        kernel.heard, kernel.draft = heard, drafted

    def talk(self, **query: str) -> Any:
        return self.served.talk(**query)

    async def conversation(self, pid: int = 1) -> list[tuple[str, str]]:
        stored = await self.kernel.messages(pid)
        return [(each.message.role, each.message.content) for each in stored]


@pytest.fixture
async def start(home):
    async with AsyncExitStack() as stack:

        async def begin(devices: Devices | None = None, rules: Any = RULES, **options: Any) -> Rig:
            kernel = await stack.enter_async_context(kernel_on(home, rules, **options))
            served = await stack.enter_async_context(server(kernel, home, devices))
            return Rig(kernel, served, devices)

        yield begin


@asynccontextmanager
async def spoken(start: Any, **options: Any):
    rig = await start(Devices(), **options)
    async with rig.talk() as talk:
        yield rig, talk


def text_of(talk: Talk, kind: str) -> str:
    return "".join(event["delta"] for event in talk.of(kind))


# --- in writing -------------------------------------------------------------------------------


async def test_a_conversation_in_writing_needs_no_devices(start):
    rig = await start()
    async with rig.talk() as talk:
        assert talk.events[0]["session"]["output_modalities"] == ["text"]
        await talk.written("What is the weather?")
        done = await talk.until("response.done")
        kinds = [kind for kind in talk.kinds() if kind != "response.output_text.delta"]
        assert kinds == [
            "session.created",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        assert text_of(talk, "response.output_text.delta") == "It will rain."
        [item] = done["response"]["output"]
        assert item["content"] == [{"type": "output_text", "text": "It will rain."}]
        assert done["response"]["status"] == "completed"
        assert done["response"]["usage"]["output_tokens"] > 0
        await talk.connection.conversation.item.retrieve(item_id=item["id"])
        assert (await talk.until("conversation.item.retrieved"))["item"] == item
    assert await rig.conversation() == [
        ("user", "What is the weather?"),
        ("assistant", "It will rain."),
    ]


async def test_what_nobody_asked_to_have_answered_can_be_taken_back(start):
    rig = await start()
    async with rig.talk() as talk:
        for text in ("one", "two", "three"):
            part: Any = {"type": "input_text", "text": text}
            item: Any = {"type": "message", "role": "user", "content": [part], "id": f"i_{text}"}
            await talk.connection.conversation.item.create(item=item)
        await talk.connection.conversation.item.delete(item_id="i_two")
        await talk.until("conversation.item.deleted", item_id="i_two")
        assert rig.kernel.processes() == []
        await talk.connection.response.create()
        await talk.until("response.done")
        said = '{"type": "conversation.item.delete", "item_id": "i_one", "event_id": "e1"}'
        error = await talk.error(said)
        assert (error["code"], error["param"], error["event_id"]) == (
            "item_answered",
            "item_id",
            "e1",
        )
    assert (await rig.conversation())[0] == ("user", "one\nthree")


async def test_instructions_are_what_the_model_is_told_first_and_then_stand(start):
    prompts: list[str] = []

    def script(prompt: str) -> str:
        prompts.append(prompt)
        return "Aye."

    rig = await start(rules=script)
    async with rig.talk() as talk:
        assert (await talk.set(instructions="You are a pirate."))["instructions"]
        await talk.written("Hello.")
        await talk.until("response.done")
        assert "You are a pirate." in prompts[-1]
        update = '{"type": "session.update", "session": {"type": "realtime", "instructions": "x"}}'
        assert (await talk.error(update))["param"] == "session.instructions"


async def test_an_answer_that_fails_says_why(start):
    rig = await start(window=700)
    async with rig.talk() as talk:
        await talk.set(instructions="x" * 2000)
        await talk.written("Hello.")
        done = await talk.until("response.done")
    assert done["response"]["status"] == "failed"
    assert done["response"]["status_details"]["error"]["message"]


# --- spoken -----------------------------------------------------------------------------------


async def test_speech_is_heard_as_it_is_said_and_answered_with_sound(start):
    async with spoken(start) as (rig, talk):
        assert talk.events[0]["session"]["output_modalities"] == ["audio"]
        await talk.said(silence(0.5), speech("what is the weather like today?"), silence(2))
        done = await talk.until("response.done")
        kinds = [kind for kind in talk.kinds() if not kind.endswith(".delta")]
        assert kinds == [
            "session.created",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.completed",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        whole = "what is the weather like today?"
        kind = "conversation.item.input_audio_transcription"
        assert text_of(talk, f"{kind}.delta") == whole
        assert len(talk.of(f"{kind}.delta")) > 1
        [completed] = talk.of(f"{kind}.completed")
        assert completed["transcript"] == whole
        assert completed["usage"]["seconds"] == pytest.approx(6 * 0.288, abs=0.1)
        [began] = talk.of("input_audio_buffer.speech_started")
        [stopped] = talk.of("input_audio_buffer.speech_stopped")
        assert began["audio_start_ms"] == pytest.approx(500, abs=60)
        assert stopped["audio_end_ms"] == pytest.approx(500 + 6 * 288, abs=100)
        ids = {event["item_id"] for event in (began, stopped, completed)}
        assert ids == {talk.of("input_audio_buffer.committed")[0]["item_id"]}
        assert text_of(talk, "response.output_audio_transcript.delta") == "It will rain."
        assert len(talk.sound) == round(3 * WORD_S * 24_000) * 2
        [item] = done["response"]["output"]
        assert item["content"] == [{"type": "output_audio", "transcript": "It will rain."}]
    assert await rig.conversation() == [("user", whole), ("assistant", "It will rain.")]


async def test_what_is_being_said_is_computed_ahead(start):
    async with spoken(start) as (rig, talk):
        drafts: list[str] = []
        for words in ("what is the weather", "like in Paris", "today?"):
            await talk.said(speech(words))
            drafts.append(await rig.drafts.get())
        await talk.said(silence(0.4))
        async with asyncio.timeout(20):
            while drafts[-1] != (whole := "what is the weather like in Paris today?"):
                drafts.append(await rig.drafts.get())
        assert drafts[0] and whole.startswith(drafts[0])
        assert "speech_stopped" not in "".join(talk.kinds())
        assert drafts == sorted(drafts, key=len)


async def test_what_is_not_read_out_is_in_the_transcript(start):
    answer = "Here.\n\n```\nx = 1\n```\n"
    async with spoken(start, rules=[("code", answer)]) as (_, talk):
        await talk.written("Some code.")
        await talk.until("response.done")
        [done] = talk.of("response.output_audio_transcript.done")
        assert done["transcript"] == answer.rstrip() or done["transcript"] == answer
        assert text_of(talk, "response.output_audio_transcript.delta") == done["transcript"]


async def test_push_to_talk_ends_a_turn_when_the_client_says_so(start):
    async with spoken(start) as (rig, talk):
        await talk.set(audio={"input": {"turn_detection": None}})
        await talk.said(speech("what is the weather because"), silence(6))
        await talk.said(speech("today"))
        await talk.connection.input_audio_buffer.commit()
        await talk.connection.response.create()
        await talk.until("response.done")
        assert not talk.of("input_audio_buffer.speech_started")
        assert not talk.of("input_audio_buffer.speech_stopped")
        [done] = talk.of("conversation.item.input_audio_transcription.completed")
        assert done["transcript"] == "what is the weather because today"
        assert len(talk.of("input_audio_buffer.committed")) == 1
    assert len(await rig.conversation()) == 2


async def test_an_answer_waits_until_what_was_said_is_written_down(start):
    async with spoken(start) as (rig, talk):
        await talk.set(audio={"input": {"turn_detection": None}})
        rig.devices.hears.may.clear()
        await talk.said(speech("what is the weather"))
        await talk.connection.input_audio_buffer.commit()
        await talk.connection.response.create()
        await talk.until("response.created")
        rig.devices.hears.may.set()
        assert (await talk.until("response.done"))["response"]["status"] == "completed"
    assert (await rig.conversation())[0] == ("user", "what is the weather")


async def test_who_speaks_on_while_the_last_turn_is_written_down_is_heard_whole(start):
    async with spoken(start) as (rig, talk):
        await talk.set(audio={"input": {"turn_detection": None}})
        rig.devices.hears.may.clear()
        for words in ("what is the weather", "depends on you"):
            await talk.said(speech(words))
            await talk.connection.input_audio_buffer.commit()
        await talk.until("input_audio_buffer.committed")
        rig.devices.hears.may.set()
        kind = "conversation.item.input_audio_transcription.completed"
        assert (await talk.until(kind))["transcript"] == "what is the weather"
        assert (await talk.until(kind))["transcript"] == "depends on you"


async def test_silence_that_is_committed_is_a_turn_without_words(start):
    async with spoken(start) as (_, talk):
        await talk.set(audio={"input": {"turn_detection": None}})
        await talk.said(silence(1))
        await talk.connection.input_audio_buffer.commit()
        done = await talk.until("conversation.item.input_audio_transcription.completed")
        assert done["transcript"] == ""
        assert (await talk.error('{"type": "response.create"}'))["code"] == "nothing_to_answer"
        error = await talk.error('{"type": "input_audio_buffer.commit"}')
        assert error["code"] == "input_audio_buffer_commit_empty"


async def test_a_silence_that_a_client_names_ends_a_turn_whatever_was_said(start):
    async with spoken(start) as (_, talk):
        vad = {"type": "server_vad", "silence_duration_ms": 300, "threshold": 0.6}
        shown = (await talk.set(audio={"input": {"turn_detection": vad}}))["audio"]["input"]
        assert shown["turn_detection"] == {
            **vad,
            "create_response": True,
            "interrupt_response": True,
        }
        await talk.said(speech("i wanted to ask about the"), silence(0.6))
        done = await talk.until("conversation.item.input_audio_transcription.completed")
        assert done["transcript"] == "i wanted to ask about the"


@pytest.mark.parametrize(
    ("vad", "silence_s", "patience", "threshold"),
    [
        ({"type": "server_vad"}, None, 1.0, 0.5),
        ({"type": "server_vad", "silence_duration_ms": 0, "threshold": 0}, 0.2, 1.0, 0.05),
        ({"type": "server_vad", "silence_duration_ms": 900, "threshold": 1}, 0.9, 1.0, 0.95),
        ({"type": "semantic_vad", "eagerness": "low"}, None, 1.6, 0.5),
        ({"type": "semantic_vad", "eagerness": "high"}, None, 0.75, 0.5),
    ],
)
def test_how_turns_are_told_is_as_the_client_wants_it(vad, silence_s, patience, threshold):
    update = SessionUpdate.model_validate(
        {"type": "realtime", "audio": {"input": {"turn_detection": vad}}}
    )
    found = Settings(spoken=False).updated(update, voices=(), begun=False).detects
    assert found == Detection(True, silence_s, patience, threshold)


async def test_a_turn_is_only_answered_unasked_where_that_is_wanted(start):
    async with spoken(start) as (_, talk):
        vad = {"type": "semantic_vad", "create_response": False, "eagerness": "high"}
        shown = await talk.set(audio={"input": {"turn_detection": vad}})
        assert shown["audio"]["input"]["turn_detection"]["create_response"] is False
        await talk.said(speech("what is the weather?"), silence(2))
        await talk.until("conversation.item.input_audio_transcription.completed")
        await talk.connection.input_audio_buffer.clear()
        await talk.until("input_audio_buffer.cleared")
        assert not talk.of("response.created")
        await talk.connection.response.create()
        assert (await talk.until("response.done"))["response"]["status"] == "completed"


async def test_what_is_cleared_is_not_heard(start):
    async with spoken(start) as (rig, talk):
        await talk.said(speech("what is the"))
        await talk.until("input_audio_buffer.speech_started")
        await talk.connection.input_audio_buffer.clear()
        await talk.until("input_audio_buffer.cleared")
        await talk.said(silence(1), speech("depends on you."), silence(2))
        await talk.until("response.done")
    assert (await rig.conversation())[0] == ("user", "depends on you.")


async def test_what_cannot_be_written_down_is_told(start):
    async with spoken(start) as (rig, talk):
        rig.devices.hears.error = ValueError("broken")
        await talk.said(speech("what is the weather?"), silence(2))
        failed = await talk.until("conversation.item.input_audio_transcription.failed")
        assert "log has the details" in failed["error"]["message"]
        rig.devices.hears.error = None
        await talk.said(speech("what is the weather?"), silence(2))
        await talk.until("response.done")


async def test_voice_speed_and_language_are_the_session_s(start):
    async with spoken(start) as (rig, talk):
        output = {"voice": "joe", "speed": 1.5}
        shown = await talk.set(
            audio={"output": output, "input": {"transcription": {"language": "de"}}}
        )
        assert shown["audio"]["output"]["voice"] == "joe"
        assert shown["audio"]["input"]["transcription"] == {"language": "de"}
        await talk.said(speech("what is the weather?"), silence(2))
        await talk.until("response.done")
        assert rig.devices.speaks.chosen == [("joe", 1.5)]
        assert set(rig.devices.hears.languages) == {"de"}
        await talk.set(audio={"output": {"voice": "alloy"}, "input": {"transcription": None}})
        before = len(talk.events)
        await talk.said(speech("what is the weather?"), silence(2))
        await talk.until("response.done")
        assert rig.devices.speaks.chosen[-1] == ("", 1.5)
        assert not [kind for kind in talk.kinds()[before:] if "transcription" in kind]


async def test_a_voice_that_fails_leaves_the_answer_in_writing(start):
    async with spoken(start) as (rig, talk):
        rig.devices.speaks.error = ValueError("broken")
        await talk.written("What is the weather?")
        error = await talk.until("error")
        assert "could not be spoken" in error["error"]["message"]
        done = await talk.until("response.done")
        assert done["response"]["status"] == "failed"
        assert done["response"]["output"][0]["content"][0]["transcript"] == "It will rain."


async def test_a_reminder_is_spoken_although_nobody_asks_for_it_then(start):
    async with spoken(start) as (rig, talk):
        await talk.written("It depends.")
        created = await talk.until("response.created")
        text = f"{REMINDER} The weather!"
        await rig.kernel.send(1, text, origin=Origin.MODEL, by=BY_REMINDER)
        first = await talk.until("response.done")
        assert first["response"]["id"] == created["response"]["id"]
        second = await talk.until("response.done")
        [content] = second["response"]["output"][0]["content"]
        assert content["transcript"] == "It will rain."
        kinds = [kind for kind in talk.kinds() if kind in ("response.created", "response.done")]
        assert kinds == ["response.created", "response.done"] * 2


# --- broken off -------------------------------------------------------------------------------


async def test_cancelling_ends_the_turn_and_nothing_more_of_it_is_sent(start):
    async with spoken(start, slow=True) as (rig, talk):
        await talk.set(output_modalities=["text"])
        await talk.written("Tell me a story.")
        await talk.until("response.output_text.delta")
        await talk.connection.response.cancel()
        done = await talk.until("response.done")
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"]["reason"] == "client_cancelled"
        at = len(talk.events)
        async with asyncio.timeout(10):
            await rig.kernel.wait(1)
        [_, stored] = await rig.kernel.messages(1)
        assert stored.partial and len(stored.message.content) < 2000
        await talk.set(output_modalities=["text"])
        assert talk.kinds()[at:] == ["session.updated"]
        error = await talk.error('{"type": "response.cancel"}')
        assert error["code"] == "response_cancel_not_active"


async def test_an_answer_that_is_only_being_spoken_any_more_ends_once(start):
    async with spoken(start) as (rig, talk):
        rig.devices.speaks.may.clear()
        with rig.kernel.subscribe() as events:
            await talk.written("It depends.")
            async with asyncio.timeout(20):
                async for event in events:
                    if isinstance(event, TurnFinished):
                        break
        await talk.connection.response.cancel()
        done = await talk.until("response.done")
        assert done["response"]["status"] == "cancelled"
        at = len(talk.events)
        rig.devices.speaks.may.set()
        await talk.written("What is the weather?")
        assert (await talk.until("response.done"))["response"]["id"] != done["response"]["id"]
        deltas = [e for e in talk.events[at:] if e["type"].endswith("audio.delta")]
        assert all(e["response_id"] != done["response"]["id"] for e in deltas)
        assert (await rig.conversation())[1] == ("assistant", REPLY)


async def test_exactly_what_was_heard_is_kept(start):
    async with spoken(start) as (rig, talk):
        await talk.written("It depends.")
        done = await talk.until("response.done")
        item = done["response"]["output"][0]["id"]
        heard_ms = round(1000 * (3 + 2) * WORD_S)  # of "Well, that depends. One two three, …"
        cut = talk.connection.conversation.item
        await cut.truncate(item_id=item, content_index=0, audio_end_ms=heard_ms)
        await talk.until("conversation.item.truncated", item_id=item, audio_end_ms=heard_ms)
        assert rig.heard == [(1, 1, "Well, that depends. One two")]
        assert (await rig.conversation())[1] == ("assistant", "Well, that depends. One two")
        await talk.connection.conversation.item.retrieve(item_id=item)
        [content] = (await talk.until("conversation.item.retrieved"))["item"]["content"]
        assert content["transcript"] == "Well, that depends. One two"


async def test_cutting_an_answer_under_way_breaks_it_off(start):
    async with spoken(start, slow=True) as (rig, talk):
        rig.devices.speaks.may.clear()
        await talk.written("Tell me a story.")
        created = await talk.until("response.output_item.added")
        rig.devices.speaks.may.set()
        await talk.until("response.output_audio.delta")
        cut = talk.connection.conversation.item
        await cut.truncate(item_id=created["item"]["id"], content_index=0, audio_end_ms=250)
        done = await talk.until("response.done")
        assert done["response"]["status"] == "cancelled"
        await talk.until("conversation.item.truncated")
        at = len(talk.events)
        assert rig.heard == [(1, 1, "word")]
        assert (await rig.conversation())[1] == ("assistant", "word")
        await talk.written("What is the weather?")
        await talk.until("response.done")
        deltas = [e for e in talk.events[at:] if e["type"] == "response.output_audio.delta"]
        assert deltas and all(e["response_id"] != done["response"]["id"] for e in deltas)


async def test_who_speaks_breaks_the_answer_off(start):
    async with spoken(start, slow=True) as (rig, talk):
        await talk.said(speech("tell me a story now."), silence(2))
        await talk.until("response.output_audio.delta")
        await talk.said(speech("what is the weather?"), silence(2))
        done = await talk.until("response.done")
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        started = talk.kinds().index("input_audio_buffer.speech_started", 5)
        assert started < talk.kinds().index("response.done")
        again = await talk.until("response.done")
        assert again["response"]["status"] == "completed"
    said = await rig.conversation()
    assert [role for role, _ in said] == ["user", "assistant"] * 2
    assert said[-1] == ("assistant", "It will rain.")


async def test_who_may_not_interrupt_is_answered_afterwards(start):
    async with spoken(start) as (_, talk):
        vad = {"type": "server_vad", "interrupt_response": False, "silence_duration_ms": 200}
        await talk.set(audio={"input": {"turn_detection": vad}})
        await talk.written("It depends.")
        await talk.said(speech("what is the weather?"), silence(2))
        first = await talk.until("response.done")
        second = await talk.until("response.done")
        assert first["response"]["status"] == second["response"]["status"] == "completed"


async def test_a_client_that_goes_leaves_the_conversation_whole(start):
    rig = await start(Devices(), slow=True)
    async with rig.talk() as talk:
        await talk.written("Tell me a story.")
        await talk.until("response.output_audio.delta")
    async with asyncio.timeout(30):
        await rig.kernel.wait(1)
    [_, answer] = await rig.kernel.messages(1)
    assert answer.message.content.split() == ["word"] * 200 and not answer.partial


async def test_what_a_client_asked_is_said_although_it_goes_before(start):
    rig = await start(Devices())
    with rig.kernel.subscribe() as events:
        async with rig.talk() as talk:
            await talk.set(audio={"input": {"turn_detection": None}})
            rig.devices.hears.may.clear()
            await talk.said(speech("what is the weather"))
            await talk.connection.input_audio_buffer.commit()
            await talk.connection.response.create()
            await talk.until("response.created")
        rig.devices.hears.may.set()
        async with asyncio.timeout(20):
            async for event in events:
                if isinstance(event, TurnFinished):
                    break
    assert await rig.conversation() == [
        ("user", "what is the weather"),
        ("assistant", "It will rain."),
    ]


async def test_two_sessions_can_talk_with_one_process(start):
    rig = await start(slow=True)
    info = await rig.kernel.create()
    process = str(info.pid)
    async with rig.talk(process=process) as one, rig.talk(process=process) as two:
        await one.written("Tell me a story.")
        await one.until("response.output_text.delta")
        await two.written("What is the weather?")
        await two.until("response.created")
        await two.connection.response.cancel()
        done = await two.until("response.done")
        assert done["response"]["status"] == "cancelled"
        done = await one.until("response.done")
        assert done["response"]["status"] == "completed"
        assert text_of(one, "response.output_text.delta").split() == ["word"] * 200
        assert not two.of("response.output_text.delta")
        async with asyncio.timeout(30):
            await rig.kernel.wait(info.pid)


async def test_an_answer_that_comes_to_its_longest_is_incomplete(start):
    rig = await start(agent=AgentConfig(reply_tokens=10))
    async with rig.talk() as talk:
        await talk.written("Tell me a story.")
        done = await talk.until("response.done")
        assert done["response"]["status"] == "incomplete"
        assert done["response"]["status_details"]["reason"] == "max_output_tokens"


# --- calls ------------------------------------------------------------------------------------


async def sent(*_: Any) -> Outcome:
    return Outcome("It is done.")


CALLING = {
    "rules": [("Send", "I try.\n" + call("mail.send", n=1)), ("done", "It went out.")],
    "calls": [row("mail.send", sent, effect="egress")],
}


@pytest.mark.parametrize(("answer", "error"), [("once", ""), ("no", "denied")])
async def test_a_question_about_a_call_is_asked_and_answered(start, answer, error):
    rig = await start(Devices(), **CALLING)
    async with rig.talk(llmos="1") as talk:
        await talk.written("Send the mail.")
        asked = await talk.until("llmos.question")
        assert asked["title"]
        [argument] = asked["arguments"]
        assert (argument["name"], argument["value"]) == ("n", "1")
        wrong = '{"type": "llmos.answer", "id": "other", "answer": "once"}'
        assert (await talk.error(wrong))["code"] == "no_such_question"
        await talk.raw(json.dumps({"type": "llmos.answer", "id": asked["id"], "answer": answer}))
        answered = await talk.until("llmos.answered")
        assert (answered["id"], answered["answer"]) == (asked["id"], answer)
        ended = await talk.until("llmos.call", state="ended")
        assert (ended["name"], ended["error"]) == ("mail.send", error)
        await talk.until("response.done")
        assert talk.of("llmos.process")[0]["pid"] == 1
        again = json.dumps({"type": "llmos.answer", "id": asked["id"], "answer": answer})
        assert (await talk.error(again))["code"] == "no_such_question"


async def test_who_did_not_ask_for_them_gets_no_events_of_llmos(start):
    rig = await start(Devices(), **CALLING)
    async with rig.talk() as talk:
        await talk.written("Send the mail.")
        await talk.until("response.done")
        assert not [kind for kind in talk.kinds() if kind.startswith("llmos.")]


async def test_what_is_said_before_and_after_a_call_is_one_answer(start):
    rig = await start(Devices(), rules=CALLING["rules"], calls=[row("mail.send", sent)])
    async with rig.talk() as talk:
        await talk.written("Send the mail.")
        done = await talk.until("response.done")
        [content] = done["response"]["output"][0]["content"]
        assert content["transcript"].split("\n\n") == ["I try.", "It went out."]
        item = done["response"]["output"][0]["id"]
        cut = talk.connection.conversation.item
        await cut.truncate(item_id=item, content_index=0, audio_end_ms=round(3000 * WORD_S))
        await talk.until("conversation.item.truncated")
        assert rig.heard[0][2].split() == ["I", "try.", "It"]
        assert (await rig.conversation())[-1] == ("assistant", "It")


async def test_what_is_heard_is_told_as_it_grows_to_who_wants_it(start):
    rig = await start(Devices())
    async with rig.talk(llmos="1") as talk:
        await talk.said(speech("what is the weather today?"), silence(2))
        await talk.until("response.done")
        grown = talk.of("llmos.heard")
        assert grown[-1]["text"] == "what is the weather today?"
        assert all(0 <= event["settled"] <= len(event["text"]) for event in grown)
        assert grown[0]["settled"] < len(grown[0]["text"])


# --- what is wrong ----------------------------------------------------------------------------

BAD = [
    ("not json", "invalid_json", None),
    ("[]", "invalid_json", None),
    ("[" * 10_000 + "]" * 10_000, "invalid_json", None),
    ('{"type": "session.update", "session": ' + '{"a":' * 10_000, "invalid_json", None),
    ("{}", "missing_required_parameter", "type"),
    ('{"type": 3}', "missing_required_parameter", "type"),
    ('{"type": "session.destroy"}', "unknown_event", "type"),
    ('{"type": "response.cancel", "all": true}', "unknown_parameter", "all"),
    ('{"type": "response.cancel"}', "response_cancel_not_active", None),
    ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
    ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_value", "audio"),
    ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "invalid_value", "audio"),
    ('{"type": "input_audio_buffer.append", "audio": 5}', "invalid_value", "audio"),
    ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", None),
    ('{"type": "response.create"}', "nothing_to_answer", None),
    (
        '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0,'
        ' "audio_end_ms": 0}',
        "item_not_found",
        "item_id",
    ),
    (
        '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0,'
        ' "audio_end_ms": -1}',
        "invalid_value",
        "audio_end_ms",
    ),
    (
        '{"type": "conversation.item.retrieve", "item_id": "resp_1"}',
        "item_not_found",
        "item_id",
    ),
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user",'
        ' "content": [{"type": "input_text", "text": " "}]}}',
        "invalid_value",
        "item.content[0].text",
    ),
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "system",'
        ' "content": [{"type": "input_text", "text": "x"}]}}',
        "invalid_value",
        "item.role",
    ),
]


@pytest.mark.parametrize(("said", "code", "param"), BAD)
async def test_what_is_wrong_is_named_and_ends_nothing(start, said, code, param):
    async with spoken(start) as (_, talk):
        if said.startswith("{") and said.endswith("}"):
            said = said[:-1] + (", " if len(said) > 2 else "") + '"event_id": "mine"}'
        error = await talk.error(said)
        assert (error["code"], error["param"]) == (code, param)
        assert error["event_id"] == ("mine" if "mine" in said else None)
        assert len(error["message"]) < 300
        await talk.set()


BAD_SESSIONS = [
    ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "input.format.rate"),
    ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "input.format.type"),
    ({"audio": {"output": {"speed": 9.0}}}, "output.speed"),
    ({"audio": {"output": {"voice": "nobody"}}}, "output.voice"),
    ({"audio": {"input": {"transcription": {"language": "english"}}}}, "language"),
    ({"audio": {"input": {"turn_detection": {"type": "clap"}}}}, "turn_detection"),
    ({"audio": {"input": {"noise_reduction": {"type": "near_field"}}}}, "noise_reduction"),
    ({"tools": [{"type": "function", "name": "f"}]}, "session.tools"),
    ({"output_modalities": ["text", "audio"]}, "output_modalities"),
    ({"max_output_tokens": 5}, "max_output_tokens"),
    ({"model": "gpt-9"}, "session.model"),
    ({"colour": "red"}, "session.colour"),
]


@pytest.mark.parametrize(("session", "param"), BAD_SESSIONS)
async def test_a_session_cannot_be_set_to_what_there_is_not(start, session, param):
    async with spoken(start) as (_, talk):
        before = talk.events[0]["session"]
        wanted: Any = {"type": "realtime", **session}
        await talk.connection.session.update(session=wanted, event_id="mine")
        error = (await talk.until("error"))["error"]
        assert error["param"].endswith(param)
        assert error["event_id"] == "mine"
        assert await talk.set() == before


async def test_an_answer_cannot_be_cut_where_it_was_never_sent(start):
    async with spoken(start) as (rig, talk):
        await talk.written("What is the weather?")
        done = await talk.until("response.done")
        item = done["response"]["output"][0]["id"]
        own = talk.of("conversation.item.done")[0]["item"]["id"]
        cut = talk.connection.conversation.item
        await cut.truncate(item_id=item, content_index=0, audio_end_ms=60_000)
        assert (await talk.until("error"))["error"]["param"] == "audio_end_ms"
        await cut.truncate(item_id=own, content_index=0, audio_end_ms=0)
        assert (await talk.until("error"))["error"]["param"] == "item_id"
        assert rig.heard == []


async def test_only_the_answer_under_way_can_be_cancelled(start):
    async with spoken(start, slow=True) as (_, talk):
        await talk.written("Tell me a story.")
        created = await talk.until("response.created")
        error = await talk.error('{"type": "response.cancel", "response_id": "resp_other"}')
        assert error["param"] == "response_id"
        error = await talk.error('{"type": "response.create"}')
        assert error["code"] == "conversation_already_has_active_response"
        await talk.connection.response.cancel(response_id=created["response"]["id"])
        await talk.until("response.done")


async def test_binary_frames_are_refused_and_the_connection_stays(start):
    async with spoken(start) as (_, talk):
        assert (await talk.error(b"\x00\x01"))["code"] == "invalid_frame"
        await talk.set()


async def test_a_frame_of_20_mb_ends_only_its_own_connection(start):
    rig = await start(Devices())
    async with rig.talk() as other:
        async with rig.talk() as talk:
            audio = base64.b64encode(bytes(15 << 20)).decode()
            with contextlib.suppress(ConnectionClosed):  # it may be closed while this is sent
                await talk.raw('{"type": "input_audio_buffer.append", "audio": "' + audio + '"}')
            with pytest.raises(ConnectionClosed, match="1009"):
                await talk.next()
        await other.set()


async def test_a_flood_of_sound_holds_up_nobody(start):
    rig = await start(Devices())
    async with rig.talk() as flood, rig.talk() as other:
        audio = base64.b64encode(silence(10)).decode()

        async def pour() -> None:
            while True:
                await flood.connection.input_audio_buffer.append(audio=audio)

        pouring = asyncio.create_task(pour())
        try:
            await other.written("What is the weather?")
            assert (await other.until("response.done"))["response"]["status"] == "completed"
        finally:
            pouring.cancel()


@pytest.mark.parametrize("speaks", [False, True])
async def test_a_kernel_that_is_stopped_says_so_to_its_sessions(start, speaks):
    rig = await start()
    async with rig.talk() as talk:
        if speaks:
            await talk.written("What is the weather?")
            await talk.until("response.done")
        await talk.set()
        assert rig.kernel.busy  # somebody is there, even if nothing was said
        rig.kernel.hub.close()
        with pytest.raises(ConnectionClosed, match="1001"):
            await talk.next()


# --- what is not there ------------------------------------------------------------------------


async def test_where_nothing_hears_sound_is_refused_once_with_the_remedy(start):
    rig = await start()
    async with rig.talk() as talk:
        await talk.said(silence(1))
        assert "Write instead" in (await talk.until("error"))["error"]["message"]
        await talk.set()
        assert len(talk.of("error")) == 1
        update = (
            '{"type": "session.update", "session": {"type": "realtime",'
            ' "output_modalities": ["audio"]}}'
        )
        error = await talk.error(update)
        assert "llmos models pull" in error["message"]
        assert error["param"] == "session.output_modalities"


async def test_a_recogniser_that_is_got_meanwhile_is_used(start):
    async with spoken(start) as (rig, talk):
        await talk.set(audio={"input": {"turn_detection": None}})
        rig.devices.error = ModelMissing("There is no recogniser.", remedy="Get one.")
        await talk.said(silence(1))
        error = (await talk.until("error"))["error"]
        assert (error["message"], error["code"]) == (
            "There is no recogniser. Get one.",
            "model_missing",
        )
        error = await talk.error('{"type": "input_audio_buffer.commit"}')
        assert error["code"] == "model_missing"
        rig.devices.error = None
        error = await talk.error('{"type": "input_audio_buffer.commit"}')
        assert error["code"] == "input_audio_buffer_commit_empty"
        await talk.said(speech("what is the weather"))
        await talk.connection.input_audio_buffer.commit()
        await talk.connection.response.create()
        await talk.until("response.done")


async def test_too_many_sessions_are_turned_away(start, monkeypatch):
    monkeypatch.setattr("llmos.limits.REALTIME_SESSIONS", 1)
    rig = await start()
    async with rig.talk():
        with pytest.raises(Exception, match="429"):
            async with rig.talk():
                pass
    async with asyncio.timeout(10):
        while True:  # the place of who went is free again
            try:
                async with rig.talk():
                    break
            except Exception as error:
                assert "429" in str(error)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"process": "7"}, "404"),
        ({"process": "zero"}, "400"),
        ({"process": "0"}, "400"),
        ({"model": "llama-9"}, "404"),
        ({"intent": "transcription"}, "400"),
        ({"call_id": "c"}, "400"),
    ],
)
async def test_a_session_that_cannot_be_is_refused_at_the_door(start, query, status):
    rig = await start()
    with pytest.raises(Exception, match=status):
        async with rig.talk(**query):
            pass


async def test_who_has_no_token_is_not_let_in(start):
    rig = await start()
    client = rig.served.client()
    client.api_key = "wrong"
    with pytest.raises(Exception, match="401"):
        async with client.realtime.connect(model="gpt-realtime"):
            pass

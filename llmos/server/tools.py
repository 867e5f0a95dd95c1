"""How a chat request's tools reach the model, and how calls are read out of its reply.

Joins a request's ``tools`` and ``tool_choice`` to the model's own call format
(``kernel/callformat.py``): which tools are offered, which grammar binds from where, and a reader
that tells text from calls as the reply is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmos.engine.backend import ModelInfo
from llmos.errors import GrammarError, InvalidArguments
from llmos.events import Message, ToolCall
from llmos.kernel.callformat import CallFormat, CallScanner
from llmos.server.errors import ApiError
from llmos.server.openai_schema import ChatRequest, FunctionTool, NamedToolChoice

__all__ = ["CallReader", "ToolPlan"]


def _offered(body: ChatRequest) -> list[FunctionTool]:
    """The tools the model may call in this reply.

    Raises:
        ApiError: Two have one name, or the chosen one is not there.
    """
    tools, choice = body.tools or [], body.tool_choice
    names = [tool.function.name for tool in tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            sentence = f"Two tools are called '{name}'."
            raise ApiError(sentence, param=f"tools[{index}].function.name", code="invalid_value")
    if isinstance(choice, NamedToolChoice):
        if choice.function.name not in names:
            sentence = f"tool_choice names '{choice.function.name}', which is not among the tools."
            raise ApiError(sentence, param="tool_choice", code="invalid_value")
        return [tool for tool in tools if tool.function.name == choice.function.name]
    if choice == "required" and not tools:
        raise ApiError("tool_choice needs tools.", param="tool_choice", code="invalid_value")
    return [] if choice == "none" else tools


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """What one request's tools mean for its prompt, its sampling and its reading.

    Args:
        tools: OpenAI function schemas that are offered; empty for a plain chat.
        optional: Whether the model may answer in text instead of calling.
        grammar: GBNF of calls; empty where none is offered.
        trigger: From where the grammar binds; empty for the first token.
        format: How the model writes calls; None without tools.
    """

    tools: tuple[dict[str, Any], ...] = ()
    optional: bool = False
    grammar: str = ""
    trigger: str = ""
    format: CallFormat | None = None

    @classmethod
    def of(cls, body: ChatRequest, info: ModelInfo) -> ToolPlan:
        """The plan for a request.

        Raises:
            ApiError: The tools contradict each other or cannot be turned into a grammar.
        """
        offered = _offered(body)
        if not offered:
            return cls()
        schemas = tuple(
            {
                "type": "function",
                "function": {
                    "name": tool.function.name,
                    "description": tool.function.description or "",
                    "parameters": tool.function.parameters or {"type": "object", "properties": {}},
                },
            }
            for tool in offered
        )
        optional = body.tool_choice in (None, "auto")
        parallel = body.parallel_tool_calls is not False and not isinstance(
            body.tool_choice, NamedToolChoice
        )
        calls = CallFormat.of(info)
        try:
            rules = calls.grammar(schemas, lazy=optional, parallel=parallel)
        except (GrammarError, RecursionError) as error:
            reason = "they nest too deeply" if isinstance(error, RecursionError) else str(error)
            sentence = f"These tools cannot be used: {reason}"
            raise ApiError(sentence, param="tools", code="invalid_schema") from error
        return cls(schemas, optional, rules, calls.trigger if optional else "", calls)

    def adapt(
        self, messages: Sequence[Message]
    ) -> tuple[Sequence[Message], Sequence[dict[str, Any]]]:
        """Messages and tools as the model's template takes them."""
        if self.format is None:
            return messages, ()
        return self.format.adapt(messages, self.tools)

    def reader(self) -> CallReader | None:
        """A fresh reader for one reply; None where no call can come."""
        return None if self.format is None else CallReader(self.format)


class CallReader:
    """Tells text from calls while a reply is written.

    What opens like a call and is none, or is cut short, is text in the end: the client is not
    given a call that the model did not write, nor is anything it did write kept back.
    """

    def __init__(self, calls: CallFormat) -> None:
        self._opening = calls.syntax.opening
        self._scanner = CallScanner(calls)
        self._written = ""
        self._taken = 0
        self._broken = False

    def feed(self, text: str) -> tuple[str, list[ToolCall]]:
        """What is certain after ``text``: more text for the reader, and calls that are whole."""
        self._written += text
        return self._read(lambda: self._scanner.feed(text), text)

    def close(self) -> tuple[str, list[ToolCall]]:
        """The rest, when the reply has ended."""
        return self._read(self._scanner.finish, "")

    def _read(self, scan: Callable[[], str], text: str) -> tuple[str, list[ToolCall]]:
        if self._broken:
            return text, []
        try:
            shown = scan()
        except InvalidArguments:
            self._broken = True
            shown = self._written[max(self._written.rfind(self._opening), 0) :]
        new = self._scanner.calls[self._taken :]
        self._taken += len(new)
        return shown, new

"""How a model writes tool calls, and how it is told of tools.

A model was trained on one wire form of calls. ``detect`` reads from its chat template which one;
a template that knows none gets the generic form, where llmos itself describes the tools in the
system message and hands results back as the user's. Each form gives a grammar under which every
call fits its schema, reads calls back, and fits a conversation to the template.

Calls are written as ``json.dumps(…, ensure_ascii=False)`` writes them, so that a reply rendered
again by the template has the tokens that the model sampled, and its cells can be kept. Names may
be any text: to the grammar a name is a JSON string. Nothing here runs a call.

What the engine owes: where the trigger is a control token (``[TOOL_CALLS]``), its text must appear
in the reply; text that shares a token with the trigger's end must itself fit the grammar.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmos import limits
from llmos.engine.backend import ModelInfo
from llmos.engine.gbnf import Chars, Expr, Grammar, Rep, alt, optional, seq
from llmos.engine.grammar import SchemaWriter
from llmos.errors import GrammarError
from llmos.events import Message, ToolCall
from llmos.kernel.callscan import CallScanner, Syntax

__all__ = [
    "CallFormat",
    "CallScanner",
    "Generic",
    "Hermes",
    "Llama3",
    "Mistral",
    "describe",
    "detect",
]

Tool = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallFormat:
    """One wire form of tool calls.

    Args:
        name: ``hermes``, ``llama3``, ``mistral`` or ``generic``.
        trigger: The text that opens a call: the grammar of ``lazy`` begins with it.
        syntax: What the scanner looks for.
        parallel: Whether several calls can stand in one reply.
    """

    name: str
    trigger: str
    syntax: Syntax
    parallel: bool = True

    @staticmethod
    def detect(template: str) -> CallFormat:
        """The form of calls that a chat template's source speaks of."""
        return detect(template)

    @staticmethod
    def of(info: ModelInfo) -> CallFormat:
        """The form of a model's calls."""
        return Hermes() if info.native_calls else detect(info.template)

    def grammar(self, tools: Sequence[Tool], *, lazy: bool, parallel: bool) -> str:
        """GBNF of calls of ``tools``, each with arguments that fit its schema.

        It ends with the last call: after it only the end of the reply fits.

        Args:
            tools: OpenAI function schemas; one alone forces that call.
            lazy: It starts where the trigger was found in the reply; otherwise with the reply,
                which is then nothing but calls (``tool_choice`` required or named).
            parallel: Allow several calls.

        Raises:
            GrammarError: There is no tool, or a schema cannot be expressed.
        """
        grammar = Grammar()
        calls: list[Expr] = []
        for name, schema in (_function(tool) for tool in tools):
            try:
                arguments = SchemaWriter(grammar, schema, canonical=True).expression(name)
                calls.append(grammar.rule(f"{name}-call", self._call(name, arguments)))
            except GrammarError as error:
                raise GrammarError(
                    f"The tool {name} cannot be offered: {error.sentence}"
                ) from error
        if not calls:
            raise GrammarError("There is no tool to call.")
        most = limits.CALLS_PARALLEL_MAX if parallel and self.parallel else 1
        return grammar.render(self._calls(grammar.rule("call", alt(*calls)), most, lazy))

    def _call(self, name: str, arguments: Expr) -> Expr:
        """One call's JSON object."""
        key = self.syntax.arguments
        return seq(f'{{"name": {_json(name)}, "{key}": ', arguments, "}")

    def _calls(self, call: Expr, most: int, lazy: bool) -> Expr:
        raise NotImplementedError

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        """A whole reply as free text and calls.

        Raises:
            InvalidArguments: A call in it is malformed.
        """
        scanner = CallScanner(self)
        shown = scanner.feed(text)
        return shown + scanner.finish(), scanner.calls

    def write(self, calls: Sequence[ToolCall]) -> str:
        """The calls as the model itself writes them (for worked examples)."""
        raise NotImplementedError

    def adapt(
        self, messages: Sequence[Message], tools: Sequence[Tool]
    ) -> tuple[tuple[Message, ...], tuple[Tool, ...]]:
        """The conversation and the tools as the template takes them."""
        return tuple(messages), tuple(tools)

    def _object(self, call: ToolCall) -> str:
        return f'{{"name": {_json(call.name)}, "{self.syntax.arguments}": {_json(call.arguments)}}}'


class Hermes(CallFormat):
    """``<tool_call>`` around each JSON object: Hermes, Qwen 2.5 and 3, and many after them."""

    def __init__(self, name: str = "hermes") -> None:
        super().__init__(name, "<tool_call>", Syntax("<tool_call>", "</tool_call>"))

    def _calls(self, call: Expr, most: int, lazy: bool) -> Expr:
        # the token that ends the trigger may bring a space or a line break of its own
        one = seq("<tool_call>", Rep(Chars.of(" \n"), 0, 2), call, "\n</tool_call>")
        return seq(one, Rep(seq("\n", one), 0, most - 1)) if most > 1 else one

    def write(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(f"<tool_call>\n{self._object(call)}\n</tool_call>" for call in calls)


class Llama3(CallFormat):
    """A bare JSON object, one a reply: Llama 3.1 to 3.3."""

    def __init__(self) -> None:
        syntax = Syntax(
            '{"name":', arguments="parameters", is_json=True, dropped=("<|python_tag|>",)
        )
        super().__init__("llama3", '{"name":', syntax, parallel=False)

    def _call(self, name: str, arguments: Expr) -> Expr:
        return seq('{"name":', optional(" "), f'{_json(name)}, "parameters": ', arguments, "}")

    def _calls(self, call: Expr, most: int, lazy: bool) -> Expr:
        return call

    def write(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(map(self._object, calls))

    def adapt(
        self, messages: Sequence[Message], tools: Sequence[Tool]
    ) -> tuple[tuple[Message, ...], tuple[Tool, ...]]:
        """One call a message, each followed by its result: the template refuses more."""
        out: list[Message] = []
        waiting = list(messages)
        while waiting:
            message = waiting.pop(0)
            if len(message.calls) < 2:
                out.append(message)
                continue
            results: list[Message] = []
            while waiting and waiting[0].role == "tool":
                results.append(waiting.pop(0))
            for n, call in enumerate(message.calls):
                out.append(replace(message, content="" if n else message.content, calls=(call,)))
                out += [result for result in results if result.call_id == call.id]
            known = {call.id for call in message.calls}
            out += [result for result in results if result.call_id not in known]
        return tuple(out), tuple(tools)


class Mistral(CallFormat):
    """``[TOOL_CALLS]`` and one JSON list: Mistral 7B v0.3, Nemo and their kin."""

    def __init__(self) -> None:
        syntax = Syntax("[TOOL_CALLS]", listed=True, ignored=frozenset({"id"}))
        super().__init__("mistral", "[TOOL_CALLS]", syntax)

    def _calls(self, call: Expr, most: int, lazy: bool) -> Expr:
        more = Rep(seq(", ", call), 0, most - 1) if most > 1 else ""
        return seq("[TOOL_CALLS]", optional(" "), "[", call, more, "]")

    def write(self, calls: Sequence[ToolCall]) -> str:
        return f"[TOOL_CALLS][{', '.join(map(self._object, calls))}]"

    def adapt(
        self, messages: Sequence[Message], tools: Sequence[Tool]
    ) -> tuple[tuple[Message, ...], tuple[Tool, ...]]:
        """The template refuses call ids that are not nine letters or digits."""

        def short(call_id: str) -> str:
            fine = len(call_id) == 9 and call_id.isascii() and call_id.isalnum()
            return call_id if fine else hashlib.sha256(call_id.encode()).hexdigest()[:9]

        fitted = tuple(
            replace(
                message,
                calls=tuple(replace(call, id=short(call.id)) for call in message.calls),
                call_id=short(message.call_id) if message.role == "tool" else message.call_id,
            )
            for message in messages
        )
        return fitted, tuple(tools)


class Generic(Hermes):
    """For templates that know no tools: Hermes' form, with everything told in plain messages."""

    def __init__(self) -> None:
        super().__init__("generic")

    def adapt(
        self, messages: Sequence[Message], tools: Sequence[Tool]
    ) -> tuple[tuple[Message, ...], tuple[Tool, ...]]:
        """Plain system, user and assistant messages; the template is given no tools.

        The same tools in the same order give the same bytes at the front.
        """
        out: list[Message] = []
        if tools:
            told = _INTRODUCTION + "\n".join(map(describe, tools))
            if messages and messages[0].role == "system":
                first, messages = messages[0], messages[1:]
                out.append(replace(first, content=f"{first.content}\n\n{told}".lstrip()))
            else:
                out.append(Message("system", told))
        previous = ""
        for message in messages:
            if message.role == "tool":
                result = message.content.replace("</tool_response", "<\\/tool_response")
                text = f"<tool_response>\n{result}\n</tool_response>"
                if previous == "tool":
                    out[-1] = replace(out[-1], content=f"{out[-1].content}\n{text}")
                else:
                    out.append(Message("user", text))
            elif message.calls:
                text = f"{message.content}\n{self.write(message.calls)}".lstrip("\n")
                out.append(Message(message.role, text))
            else:
                out.append(message)
            previous = message.role
        return tuple(out), ()


def detect(template: str) -> CallFormat:
    """The form of calls that a chat template's source speaks of."""
    knows_tools = "tools" in template
    if knows_tools and "<tool_call>" in template and "arguments" in template:
        # Qwen3-Coder and GLM put XML into the same tags
        if "<function=" not in template and "<arg_key>" not in template:
            return Hermes()
    elif knows_tools and "[TOOL_CALLS]" in template:
        if "[ARGS]" not in template:  # later Mistral models write name[ARGS]{…}
            return Mistral()
    elif knows_tools and "<|start_header_id|>" in template and '"parameters": ' in template:
        return Llama3()
    return Generic()


# --- tools in words -----------------------------------------------------------------------------

_INTRODUCTION = (
    "You can call tools. To call one, write exactly this and nothing after it:\n"
    '<tool_call>\n{"name": "tool name", "arguments": {"argument": "value"}}\n</tool_call>\n'
    "The result comes back in <tool_response>. Tools:\n"
)


def describe(tool: Tool) -> str:
    """A tool in one or a few lines: its signature, what it does, what its arguments mean."""
    name, schema = _function(tool)
    described = tool.get("function", tool)
    fields: dict[str, Any] = schema["properties"]
    required = schema.get("required", [])
    signature = ", ".join(
        f"{field}{'' if field in required else '?'}: {_type(value)}"
        for field, value in fields.items()
    )
    lines = [f"{name}({signature})"]
    if text := _line(described.get("description")):
        lines[0] += f" - {text}"
    for field, value in fields.items():
        if isinstance(value, dict) and (text := _line(value.get("description"))):
            lines.append(f"  {field}: {text}")
    return "\n".join(lines)


def _type(schema: Any, depth: int = 0) -> str:
    """A schema in the notation of type hints, as far as it can be said shortly."""
    if not isinstance(schema, dict) or depth > 3:
        return "any"
    if "const" in schema:
        return _json(schema["const"])
    if isinstance(schema.get("enum"), list):
        return "|".join(map(_json, schema["enum"]))
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return "|".join(dict.fromkeys(_type(part, depth + 1) for part in schema[key]))
    kind = schema.get("type", "object" if "properties" in schema else "any")
    if isinstance(kind, list):
        return "|".join(map(str, kind))
    if kind == "array":
        return f"[{_type(schema.get('items'), depth + 1)}]"
    if kind == "object" and isinstance(schema.get("properties"), dict):
        required = schema.get("required", [])
        inner = (
            f"{name}{'' if name in required else '?'}: {_type(value, depth + 1)}"
            for name, value in schema["properties"].items()
        )
        return f"{{{', '.join(inner)}}}"
    return str(schema.get("format", kind)) if kind == "string" else str(kind)


def _line(text: Any) -> str:
    return " ".join(text.split()) if isinstance(text, str) else ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _function(tool: Tool) -> tuple[str, dict[str, Any]]:
    """Name and parameters of an OpenAI tool, or of a bare function.

    Parameters without ``properties`` are an empty list, as OpenAI has it, unless the schema
    says what else there may be.
    """
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= limits.CALL_NAME_CHARS:
        raise GrammarError("A tool has no name, or one that is too long.")
    assert isinstance(function, dict)
    schema = function.get("parameters") or {}
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise GrammarError(f"The parameters of the tool {name} are not an object.")
    if not isinstance(schema.get("properties", {}), dict):
        raise GrammarError(f"The parameters of the tool {name} are malformed.")
    return name, {"properties": {}, **schema, "type": "object"}

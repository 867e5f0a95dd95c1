from __future__ import annotations

from pathlib import Path

import pytest

from llmos import limits, paths
from llmos.door.tools import load
from llmos.errors import CallFailed
from llmos.host.clipboard import Clipboard, helpers
from llmos.sdk import Context, ToolError

CALLS = {
    call.name.removeprefix("clipboard."): call
    for call in load(paths.bundled("tools") / "clipboard").calls
}
PASTE = '#!/bin/sh\ncase "$*" in *-o*) cat "{board}";; *) cat > "{board}";; esac\n'


@pytest.fixture
def desktop(tmp_path: Path):
    """A desktop whose helper is a script: what runs is a real process."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    board = tmp_path / "board"

    def install(script: str = PASTE) -> Clipboard:
        file = binaries / "xclip"
        file.write_text(script.format(board=board))
        file.chmod(0o755)
        return Clipboard({"PATH": f"{binaries}:/usr/bin:/bin", "DISPLAY": ":0"})

    return install


async def test_what_is_written_is_read_again(desktop):
    clipboard = desktop()
    await clipboard.write("grün\n☃")
    assert await clipboard.read() == "grün\n☃"


async def test_nothing_was_copied_yet(desktop):
    assert await desktop("#!/bin/sh\nexit 1\n").read() == ""


async def test_without_a_desktop_or_its_helper_a_sentence_says_so(tmp_path):
    with pytest.raises(ToolError, match="without a desktop"):
        await Clipboard({"PATH": str(tmp_path)}).read()
    with pytest.raises(ToolError, match="xclip or xsel is not installed"):
        await Clipboard({"PATH": str(tmp_path), "DISPLAY": ":0"}).write("x")


async def test_a_helper_that_hangs_floods_or_fails_is_ended(desktop, monkeypatch):
    monkeypatch.setattr(limits, "CLIPBOARD_SECONDS", 0.2)
    with pytest.raises(ToolError, match="does not answer"):
        await desktop("#!/bin/sh\nsleep 60 & wait\n").read()
    monkeypatch.setattr(limits, "CLIPBOARD_SECONDS", 20.0)
    monkeypatch.setattr(limits, "CLIPBOARD_BYTES", 1000)
    with pytest.raises(ToolError, match="too long"):
        await desktop("#!/bin/sh\nyes\n").read()
    with pytest.raises(ToolError, match="too long"):
        await desktop().write("x" * 1001)
    with pytest.raises(ToolError, match="did not take"):
        await desktop("#!/bin/sh\ncat > /dev/null; exit 3\n").write("x")


async def test_the_helper_sees_no_secret_of_the_environment(desktop):
    clipboard = desktop("#!/bin/sh\nenv\n")
    clipboard._environ = {**clipboard._environ, "API_KEY": "hunter2"}
    assert "hunter2" not in await clipboard.read()


def test_each_desktop_has_its_helper():
    first = {
        name: helpers(env, "linux")[0][1][0]
        for name, env in {
            "wl-copy": {"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"},
            "xclip": {"DISPLAY": ":0"},
        }.items()
    }
    assert all(name == found for name, found in first.items())
    assert helpers({}, "darwin")[0][1] == ("pbcopy",)
    assert helpers({}, "linux") == ()


async def test_the_tool_reads_as_untrusted_and_private_and_shows_what_it_writes(desktop):
    context = Context(lent={"clipboard": desktop()})
    shown = await CALLS["write"].preview({"text": "hello"}, context)
    assert shown.text.endswith("hello")
    assert (await CALLS["write"].run({"text": "hello"}, context)).text == (
        "5 characters are on the clipboard."
    )
    assert (await CALLS["read"].run({}, context)).text == "hello"
    assert (CALLS["read"].origin, CALLS["read"].private) == ("untrusted", True)
    empty = Context(lent={"clipboard": desktop("#!/bin/sh\nexit 1\n")})
    assert "empty" in (await CALLS["read"].run({}, empty)).text
    with pytest.raises(CallFailed):
        await CALLS["read"].run({}, Context(lent={"clipboard": Clipboard({})}))

"""``llmos voice``: talk with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import click

from llmos import config
from llmos.devices.sound_portaudio import PortAudio
from llmos.errors import LlmosError
from llmos.visible import visible
from llmos.voice.duplex import Line
from llmos.voice.opening import open_terminal
from llmos.voice.terminal import Terminal

__all__ = ["voice"]


@click.command()
@click.option("--process", "pid", type=click.IntRange(min=1), default=None, help="Go on in it.")
@click.option("--microphone", default="", help="Its name, or a part of it.")
@click.option("--loudspeaker", default="", help="Its name, or a part of it.")
@click.option("--devices", "listing", is_flag=True, help="List the sound devices.")
@click.option("--push-to-talk", is_flag=True, help="Listen only after the space bar.")
@click.option("--no-screen", is_flag=True, help="Captions as plain lines, without keys.")
def voice(
    pid: int | None,
    microphone: str,
    loudspeaker: str,
    listing: bool,
    push_to_talk: bool,
    no_screen: bool,
) -> None:
    """Talk with llmos: it listens all the time, also while it speaks.

    Interrupt it by speaking. "Stop", "repeat", "slower", "faster", "louder" and "quieter" are done
    at once. With headphones it understands best.
    """
    if listing:
        asyncio.run(_list())
        return
    settings = config.load().voice
    settings = replace(
        settings,
        microphone=microphone or settings.microphone,
        loudspeaker=loudspeaker or settings.loudspeaker,
    )

    async def opened(show: Callable[[Line], None]) -> Terminal:
        terminal = await open_terminal(show, settings=settings, pid=pid or 0)
        terminal.duplex.push_to_talk = push_to_talk
        return terminal

    if no_screen:
        asyncio.run(_plain(opened))
        return
    from llmos.voice.app import VoiceApp

    app = VoiceApp(opened)
    app.run()
    if app.failed is not None:
        raise app.failed


async def _plain(opened: Callable[[Callable[[Line], None]], Awaitable[Terminal]]) -> None:
    def show(line: Line) -> None:
        if line.whole:
            who = {"person": "You: ", "llmos": "llmos: "}.get(line.who, "")
            click.echo(visible(f"{who}{line.text}"))

    terminal = await opened(show)
    click.echo("Listening. Ctrl-C ends.", err=True)
    with contextlib.suppress(asyncio.CancelledError):
        await terminal.run()


async def _list() -> None:
    system = await PortAudio.open()
    try:
        found = await system.devices()
    finally:
        await system.close()
    for kind, devices in (
        ("microphone", found.microphones),
        ("loudspeaker", found.loudspeakers),
    ):
        for one in devices:
            mark = "*" if one.default else " "
            click.echo(f"{mark} {kind:11}  {visible(one.name)}  {one.rate} Hz")
    for missing in found.missing:
        click.echo(missing, err=True)
    if found.missing and not (found.microphones or found.loudspeakers):
        raise LlmosError("There is no sound device.")

"""The voice terminal of this machine: its devices, its canceller, its kernel."""

from __future__ import annotations

from collections.abc import Callable

from llmos import config
from llmos.client import Client
from llmos.config import VoiceConfig
from llmos.devices.echo import open_canceller
from llmos.devices.sound_portaudio import PortAudio
from llmos.devices.vad import open_detector, silero_file
from llmos.devices.wake import MicroWakeWord
from llmos.voice.duplex import Line
from llmos.voice.link import Link
from llmos.voice.terminal import Terminal

__all__ = ["open_terminal"]


async def open_terminal(
    show: Callable[[Line], None],
    *,
    settings: VoiceConfig | None = None,
    pid: int = 0,
    client: Client | None = None,
) -> Terminal:
    """Open it. Devices first: without a microphone no kernel need be started.

    Args:
        show: Takes captions.
        settings: The microphone and loudspeaker to open, and how it speaks; by default the
            person's own.
        pid: The process to talk with; 0 for a new one.
        client: Of the kernel; by default it is found, or started.

    Raises:
        DeviceError: There is no microphone, no loudspeaker or no such wake word, or a package or
            library is not there.
        LlmosError: There is no kernel.
    """
    settings = settings or config.load().voice
    wake = MicroWakeWord(settings.wake) if settings.wake else None
    system = await PortAudio.open()
    try:
        microphone = await system.microphone(settings.microphone)
        loudspeaker = await system.loudspeaker(settings.loudspeaker)
        canceller, note = open_canceller()
        detector, missing = open_detector(silero_file())
        link = Link(client or await Client.connect(), pid)
    except BaseException:
        await system.close()
        raise
    for told in filter(None, (note, missing)):
        show(Line("note", "", told, len(told), whole=True))
    return Terminal(
        link, system, microphone, loudspeaker, canceller, detector, show,
        language=settings.language, speed=settings.speed, wake=wake,
    )  # fmt: skip

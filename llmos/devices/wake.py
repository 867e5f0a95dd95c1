"""Wake words: what a microphone that is asleep is woken by.

microWakeWord (Kevin Ahrendt, github.com/kahrendt/microWakeWord, Apache-2.0), in the package
``pymicro-wakeword``, which ships four of them as models of some 60 kB. Optional: without a wake
word everything that is heard is meant.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, Protocol

from llmos.devices.audio import Samples, clean, encode_pcm16
from llmos.errors import DeviceError

__all__ = ["WAKE_WORDS", "MicroWakeWord", "WakeWord"]

#: What can be chosen.
WAKE_WORDS: Final = ("alexa", "hey jarvis", "hey mycroft", "okay nabu")

REMEDY = "Install it with pip install 'llmos[wake]', or leave voice.wake empty."


class WakeWord(Protocol):
    """Hears one microphone, asleep or not: it remembers the stream."""

    @property
    def name(self) -> str:
        """The words, as a person says them."""
        ...

    def heard(self, sound: Samples) -> bool:
        """Whether they have just been said.

        Args:
            sound: The next of the stream, any length, 16 kHz.
        """
        ...


class MicroWakeWord:
    """One of ``WAKE_WORDS``.

    Raises:
        DeviceError: There is none of that name, or the package is not there.
    """

    def __init__(self, name: str) -> None:
        if name not in WAKE_WORDS:
            raise DeviceError(
                f"There is no wake word {name!r}.", remedy=f"There are: {', '.join(WAKE_WORDS)}."
            )
        try:
            # by name: it is optional, and has no types
            package = importlib.import_module("pymicro_wakeword")
        except (ImportError, OSError) as error:  # OSError: its shared library does not load
            raise DeviceError("Wake words are not installed.", remedy=REMEDY) from error
        self.name = name
        self._model: Any = package.MicroWakeWord.from_builtin(package.Model(name.replace(" ", "_")))
        self._features: Any = package.MicroWakeWordFeatures()

    def heard(self, sound: Samples) -> bool:
        heard = False
        for features in self._features.process_streaming(encode_pcm16(clean(sound))):
            heard = bool(self._model.process_streaming(features)) or heard
        if heard:
            self._model.reset()  # else it would be heard again with each frame that follows
        return heard

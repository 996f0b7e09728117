"""What the vocoder sounds like under each name.

Hides when a recording is read: ahead, on a thread of its own, as that takes longer than a unit may
wait. Law: a voice is read once and given to every stream; those not used lately are forgotten, as
each holds as much of the device as a session.
"""

from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from omni.errors import AssetError
from omni.models.minicpmo.cloning import Cloner
from omni.models.minicpmo.token2wav import Token2Wav
from omni.models.minicpmo.voice import Voice, VoicePrompt
from omni.stages.minicpmo.voices import Voices

MAX_VOICES: Final = 8


class Timbres:
    """Args:
    cloner: None where recordings cannot be read.
    """

    def __init__(self, vocoder: Token2Wav, voices: Voices, cloner: Cloner | None) -> None:
        self.vocoder = vocoder
        self._voices = voices
        self._cloner = cloner
        self._known: OrderedDict[Hashable, Voice] = OrderedDict()
        self._reading: dict[Hashable, Future[VoicePrompt]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="voices")

    def read_ahead(self, name: str) -> None:
        """Begin to read a voice that will be asked for."""
        key = self._voices.key(name)
        if key not in self._known and key not in self._reading:
            dims = self.vocoder.dims
            self._reading[key] = self._reader.submit(self._voices.prompt, name, dims, self._cloner)

    def voice(self, name: str) -> Voice:
        """Waits for the reading, if need be.

        Raises:
            AssetError: what there is under this name cannot be used.
        """
        key = self._voices.key(name)
        if key not in self._known:
            self.read_ahead(name)
            try:
                self._known[key] = self.vocoder.voice(self._reading.pop(key).result())
            except ValueError as error:
                raise AssetError(f"voice {name}: {error}", param=name) from error
        self._known.move_to_end(key)
        while len(self._known) > MAX_VOICES:
            self._known.popitem(last=False)
        return self._known[key]

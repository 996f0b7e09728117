"""The tiny model in half duplex in one process, with the seeds that a session would have."""

import numpy as np
import torch

from omni.config import OmniConfig
from omni.models.minicpmo.brain import Brain, Room
from omni.models.minicpmo.checkpoint import load
from omni.models.minicpmo.halfduplex import HalfDuplex
from omni.models.minicpmo.hift import seeded_noise
from omni.models.minicpmo.sampling import seeded
from omni.models.minicpmo.scheduler import Scheduler, run
from omni.models.minicpmo.token2wav import Stream
from omni.models.minicpmo.token2wav_files import load_token2wav
from omni.models.minicpmo.tokens import Tokens
from omni.models.minicpmo.turns import Content, Manner
from omni.models.minicpmo.voice import VoicePrompt
from omni.stages.minicpmo.build import half_duplex_rule
from omni.stages.minicpmo.voices import CODES_A_S, SILENT_MEL
from omni.types import Samples
from tests.stages.minicpmo.flow import PACK, SEED

CPU = torch.device("cpu")


class OnePiece:
    def __init__(self, config: OmniConfig, instructions: str) -> None:
        vocoder = load_token2wav(PACK / "token2wav", CPU)
        self.brain = Brain(load(PACK, CPU, torch.float32), Tokens(PACK), vocoder, Room(2, 2048))
        self.half = HalfDuplex(self.brain, half_duplex_rule(config))
        dims = vocoder.dims
        silence = VoicePrompt(
            (dims.stream.silence_code,) * CODES_A_S,
            torch.full((CODES_A_S * dims.encoder.stride, dims.dit.num_mels), SILENT_MEL),
            torch.zeros(dims.speaker_size),
        )
        stream = Stream(vocoder.voice(silence), seeded_noise(vocoder.hift.dims, SEED))
        sources = (seeded(SEED), seeded(SEED + 1))
        self.session = run(self.brain, self.half.open([instructions], stream, sources))

    def read(self, *contents: Content) -> None:
        run(self.brain, self.half.read(self.session, contents))

    def answer(self, manner: Manner) -> tuple[list[int], Samples]:
        """The words, thoughts left out, and their sound."""
        scheduler = Scheduler(self.brain)
        job = scheduler.submit(self.half.answer(self.session, manner))
        while not job.is_done:
            scheduler.step()
        answer = self.session.thinking.answer
        assert answer is not None
        samples = [said.samples.numpy() for said in job.outputs]
        return answer.words, np.concatenate([np.zeros(0, np.float32), *samples])

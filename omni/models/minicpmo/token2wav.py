"""Speech codes to 24 kHz sound, window by window, in a voice given by a recorded prompt.

Hides the caches of the flow and the vocoder. States are values: a stream starts from its voice's
state and replaces its own, so sessions and voices never share what one of them changes.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from omni.models.decode_graphs import cuda_graph
from omni.models.minicpmo.flow_encoder import EncoderDims, FlowEncoder
from omni.models.minicpmo.flow_matching import DiT, DiTDims, Target, integrate
from omni.models.minicpmo.hift import HiFT, HiFTDims, NoiseOf, SourceNoise
from omni.models.minicpmo.voice import FlowState, Tail, Voice, VoicePrompt, picked, stacked
from omni.models.shape_graphs import ShapeGraphs


@dataclass(frozen=True, slots=True, eq=False)
class StreamDims:
    """How a stream is cut and how much of it is remembered."""

    num_steps: int  # Euler steps of a window
    lookahead: int
    silence_code: int
    kept_frames: int  # of attention, beside the prompt's
    mel_frames: int  # read again by the vocoder
    overlap_samples: int  # held back and cross-faded


@dataclass(frozen=True, slots=True, eq=False)
class Token2WavDims:
    num_codes: int
    speaker_size: int
    encoder: EncoderDims
    dit: DiTDims
    hift: HiFTDims
    stream: StreamDims


class Stream:
    """One session's speech.

    Args:
        noise: randomness of the vocoder's source.
    """

    def __init__(self, voice: Voice, noise: NoiseOf) -> None:
        self.voice = voice
        self.noise = noise
        self.reset()

    def reset(self) -> None:
        """Begin anew in the same voice; what was held back is gone."""
        self.state = self.voice.state
        self.tail: Tail | None = None


class Flow(nn.Module):
    """Codes to mel; modules have the checkpoint's names."""

    def __init__(self, dims: Token2WavDims) -> None:
        super().__init__()
        mels = dims.dit.num_mels
        self.input_embedding = nn.Embedding(dims.num_codes, dims.encoder.size)
        self.spk_embed_affine_layer = nn.Linear(dims.speaker_size, mels)
        self.encoder = FlowEncoder(dims.encoder)
        self.encoder_proj = nn.Linear(dims.encoder.size, mels)
        self.decoder = nn.ModuleDict({"estimator": DiT(dims.dit)})

    @property
    def estimator(self) -> DiT:
        estimator = self.decoder["estimator"]
        assert isinstance(estimator, DiT)
        return estimator

    def embed(self, codes: Sequence[Sequence[int]]) -> Tensor:
        table = self.input_embedding
        x: Tensor = self.encoder.embed(table(torch.tensor(codes, device=table.weight.device)))
        return x

    def speaker(self, vector: Tensor) -> Tensor:
        """X-vector [size] to its condition [1, mels]."""
        unit = nn.functional.normalize(vector[None], dim=1)
        speaker: Tensor = self.spk_embed_affine_layer(unit.to(self.encoder_proj.weight))
        return speaker


class Token2Wav:
    """`noise` [frames, mels] is where the flow always starts, the same for every stream."""

    def __init__(self, dims: Token2WavDims, flow: Flow, hift: HiFT, noise: Tensor) -> None:
        self.dims = dims
        self.flow = flow
        self.hift = hift
        self.noise = noise
        if self.device.type == "cuda":
            step = flow.estimator.forward
            flow.estimator.graphs = ShapeGraphs(step, cuda_graph, after=dims.stream.num_steps)
        self.fade = torch.from_numpy(np.hamming(2 * dims.stream.overlap_samples)).float()

    @property
    def silence_code(self) -> int:
        return self.dims.stream.silence_code

    @property
    def device(self) -> torch.device:
        return self.flow.encoder_proj.weight.device

    def session_bytes(self, prompt_frames: int) -> int:
        """What a stream's state takes at its largest, after a prompt of so many frames."""
        d, e = self.dims.dit, self.dims.encoder
        frames = prompt_frames + self.dims.stream.kept_frames
        dit_row = self.dims.stream.num_steps * d.depth * 2 * d.heads * 2 * d.head_size
        encoder_row = 2 * e.size * (e.num_frame_layers + e.num_token_layers // e.stride)
        return frames * (dit_row + encoder_row) * self.noise.element_size()

    @torch.inference_mode()
    def voice(self, prompt: VoicePrompt) -> Voice:
        """Read a reference recording once; any number of streams may start from it.

        Raises:
            ValueError: the mel has not `stride` frames for each code, or is longer than the noise;
                or the prompt was made for another vocoder.
        """
        dims, stream = self.dims, self.dims.stream
        num_frames = dims.encoder.stride * len(prompt.codes)
        if len(prompt.mel) != num_frames or not 0 < num_frames <= len(self.noise):
            raise ValueError(f"{len(prompt.mel)} mel frames for {len(prompt.codes)} codes")
        sizes = (prompt.mel.shape[1:].numel(), prompt.speaker.numel())
        if sizes != (dims.dit.num_mels, dims.speaker_size) or max(prompt.codes) >= dims.num_codes:
            raise ValueError("codes, mels or x-vector are not of this vocoder")
        codes = [*prompt.codes, *[stream.silence_code] * stream.lookahead]
        speaker = self.flow.speaker(prompt.speaker)
        empty = FlowState(
            self.flow.encoder.empty_cache(1), self.flow.estimator.empty_cache(stream.num_steps, 1)
        )
        _, state = self._mel(self.flow.embed([codes]), speaker, empty, prompt.mel[None])
        return Voice(speaker, len(prompt.mel), state)

    @torch.inference_mode()
    def whole(self, prompt: VoicePrompt, codes: Sequence[int], num_steps: int) -> Tensor:
        """Mel of a finished utterance in one pass. [frames, mels]"""
        empty = FlowState(
            self.flow.encoder.empty_cache(1), self.flow.estimator.empty_cache(num_steps, 1)
        )
        x = self.flow.encoder.flush(self.flow.embed([[*prompt.codes, *codes]]))
        mel, _ = self._mel(x, self.flow.speaker(prompt.speaker), empty, prompt.mel[None])
        return mel[0, len(prompt.mel) :]

    @torch.inference_mode()
    def sound(self, mel: Tensor, noise: SourceNoise) -> Tensor:
        """Vocode mels [B, frames, mels] on their own; [B, samples]."""
        mel = mel.transpose(1, 2)
        return self.hift.decode(mel, self.hift.m_source(self.hift.f0_predictor(mel), noise))

    @torch.inference_mode()
    def stream(
        self, streams: Sequence[Stream], windows: Sequence[Sequence[int]], is_last: Sequence[bool]
    ) -> list[Tensor]:
        """Say the next window of several sessions; those alike in shape share a pass.

        Args:
            windows: codes, the last `lookahead` of which are only looked at unless it is the last
                window of the speech.

        Returns:
            Samples of each, float32 24 kHz. [n]
        """
        groups: dict[Hashable, list[int]] = {}
        for i, (stream, window, last) in enumerate(zip(streams, windows, is_last, strict=True)):
            state = stream.state
            shape = (
                len(window), last, state.encoder.tokens.shape, state.encoder.frames.shape,
                state.dit.attention.shape, stream.tail is None,
            )  # fmt: skip
            groups.setdefault(shape, []).append(i)
        sounds: dict[int, Tensor] = {}
        for members in groups.values():
            chosen = [streams[i] for i in members]
            mel = self._next_mel(chosen, [windows[i] for i in members], is_last[members[0]])
            waves = self._next_sound(chosen, mel, is_last[members[0]])
            sounds.update(zip(members, waves, strict=True))
        return [sounds[i] for i in range(len(streams))]

    def _mel(
        self, x: Tensor, speaker: Tensor, state: FlowState, prompt: Tensor
    ) -> tuple[Tensor, FlowState]:
        """Embedded codes to mel [B, frames, mels]; the prompt's mel is known for the first ones."""
        encoded, encoder = self.flow.encoder(x, state.encoder)
        features = self.flow.encoder_proj(encoded)
        start = state.dit.attention.shape[4]
        noise = self.noise[start : start + features.shape[1]].to(features).expand_as(features)
        known = nn.functional.pad(
            prompt.to(features), (0, 0, 0, features.shape[1] - prompt.shape[1])
        )
        target = Target(features, speaker, known)
        mel, dit = integrate(self.flow.estimator, noise, target, state.dit)
        return mel, FlowState(encoder, dit)

    def _next_mel(
        self, streams: Sequence[Stream], windows: Sequence[Sequence[int]], is_last: bool
    ) -> Tensor:
        x = self.flow.embed(windows)
        if is_last:
            x = self.flow.encoder.flush(x)
        speaker = torch.cat([stream.voice.speaker for stream in streams])
        unknown = x.new_zeros(len(streams), 0, self.dims.dit.num_mels)
        mel, state = self._mel(x, speaker, stacked([s.state for s in streams]), unknown)
        for i, stream in enumerate(streams):
            stream.state = self._trimmed(picked(state, i), stream.voice.num_frames)
        return mel

    def _trimmed(self, state: FlowState, prompt_frames: int) -> FlowState:
        """Forget what lies between the prompt and the last frames.

        As released: the decoder's cache is newest first, so that it keeps the newest `prompt`
        frames and the oldest others; and the code-rate cache is cut as if it lay twice in a row.
        """
        kept = self.dims.stream.kept_frames

        def cut(rows: Tensor) -> Tensor:
            if rows.shape[-2] <= prompt_frames + kept:
                return rows
            return torch.cat([rows[..., :prompt_frames, :], rows[..., -kept:, :]], dim=-2)

        tiled = cut(torch.cat([state.encoder.tokens] * self.dims.encoder.stride, dim=-2))
        tokens = tiled[..., : tiled.shape[-2] // self.dims.encoder.stride, :]
        encoder = replace(state.encoder, tokens=tokens, frames=cut(state.encoder.frames))
        return FlowState(encoder, replace(state.dit, attention=cut(state.dit.attention)))

    def _next_sound(self, streams: Sequence[Stream], mel: Tensor, is_last: bool) -> list[Tensor]:
        overlap = self.dims.stream.overlap_samples
        tails = [stream.tail for stream in streams if stream.tail is not None]
        mel = mel.transpose(1, 2)  # [B, mels, frames]
        if tails:
            mel = torch.cat([torch.cat([tail.mel for tail in tails]), mel], dim=2)
        samples = mel.shape[2] * self.hift.dims.frame_samples
        noise = [stream.noise(samples) for stream in streams]
        both = SourceNoise(
            torch.cat([n.phase for n in noise]).to(mel.device),
            torch.cat([n.breath for n in noise]).to(mel.device),
        )
        source = self.hift.m_source(self.hift.f0_predictor(mel), both)
        if tails:
            source[:, :overlap] = torch.cat([tail.source for tail in tails])
        speech = self.hift.decode(mel, source)
        if tails:
            fade = self.fade.to(speech)
            held = torch.cat([tail.speech for tail in tails])
            speech[:, :overlap] *= fade[:overlap]
            speech[:, :overlap] += held * fade[overlap:]
        for i, stream in enumerate(streams):
            stream.tail = Tail(
                mel[i : i + 1, :, -self.dims.stream.mel_frames :],
                source[i : i + 1, -overlap:],
                speech[i : i + 1, -overlap:],
            )
        return list(speech if is_last else speech[:, :-overlap])

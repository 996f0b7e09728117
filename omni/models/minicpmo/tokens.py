"""The checkpoint's tokenizer and its special ids, looked up by their strings.

Hides ids: they differ from checkpoint to checkpoint. No bos or eos is ever added, and no code of
the checkpoint runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from omni.errors import AssetError
from omni.models.minicpmo.sampling import TextIds

_NEVER_SPOKEN = ":：；#“”‘’@*【】「」()（）[]&/$"


@dataclass(frozen=True, slots=True, eq=False)
class SpecialIds:
    """Ids by the strings in `STRINGS`; -1 for one of `NEWER` that 2.6 does not know."""

    unk: int
    im_start: int
    im_end: int
    unit: int
    unit_end: int
    image: int
    image_end: int
    slice: int
    slice_end: int
    audio_start: int
    audio_end: int
    listen: int
    speak: int
    chunk_eos: int
    chunk_tts_eos: int
    turn_eos: int
    tts_bos: int
    tts_eos: int
    tts_pad: int
    think: int
    think_end: int


STRINGS = {
    "unk": "<unk>", "im_start": "<|im_start|>", "im_end": "<|im_end|>", "unit": "<unit>",
    "unit_end": "</unit>", "image": "<image>", "image_end": "</image>", "slice": "<slice>",
    "slice_end": "</slice>", "audio_start": "<|audio_start|>", "audio_end": "<|audio_end|>",
    "listen": "<|listen|>", "speak": "<|speak|>", "chunk_eos": "<|chunk_eos|>",
    "chunk_tts_eos": "<|chunk_tts_eos|>", "turn_eos": "<|turn_eos|>", "tts_bos": "<|tts_bos|>",
    "tts_eos": "<|tts_eos|>", "tts_pad": "<|tts_pad|>",
    "think": "<think>", "think_end": "</think>",
}  # fmt: skip

NEWER = ("chunk_eos", "chunk_tts_eos", "turn_eos", "tts_pad", "think", "think_end")


class Tokens:
    """Text to ids and back.

    Args:
        folder: holds `tokenizer.json` and `tokenizer_config.json`.
    version: of the checkpoint.

    Raises:
        AssetError: no tokenizer there, or a special token is missing (named).
    """

    def __init__(self, folder: Path, version: str = "4.5") -> None:
        if not (folder / "tokenizer.json").is_file():
            raise AssetError(f"{folder} has no tokenizer.json", param="tokenizer.json")
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        self.ids = SpecialIds(
            **{
                f.name: -1
                if version == "2.6" and f.name in NEWER
                else self._special(STRINGS[f.name])
                for f in fields(SpecialIds)
            }
        )
        self.bad_ids = tuple(self.tokenizer.init_kwargs.get("bad_token_ids", ()))
        self.special_ids = frozenset(self.tokenizer.all_special_ids)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """What is said: special tokens are not."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def decode_all(self, ids: Sequence[int]) -> str:
        """Text with its special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def chat(self, messages: Sequence[dict[str, str]], *, is_spoken: bool) -> str:
        """The prompt of a turn-based answer, without thinking; spoken ones open with a mark."""
        return str(
            self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
                use_tts_template=is_spoken,
            )
        )

    def message(self, role: str, content: str) -> str:
        """One message of a chat, without what would open an answer."""
        return str(
            self.tokenizer.apply_chat_template([{"role": role, "content": content}], tokenize=False)
        )

    @property
    def text_ids(self) -> TextIds:
        """Ids of turn-based sampling. Like the released code, looks punctuation up as vocabulary
        strings: what is none is `<unk>`, which is forbidden with it, and ends a text."""
        to_id = self.tokenizer.convert_tokens_to_ids
        unspoken = {to_id(mark) for mark in _NEVER_SPOKEN} - {None}
        ends = (self.ids.tts_eos, self.ids.im_end, to_id("</s>"))
        terminators = tuple(end for end in ends if end is not None)
        return TextIds(terminators, (*sorted(unspoken), *self.bad_ids))

    def _special(self, string: str) -> int:
        found = self.tokenizer.get_vocab().get(string)
        if found is None:
            raise AssetError(f"the tokenizer has no {string}", param=string)
        return int(found)

"""Turn-based chat: a whole message in, text out. Also how any prompt's rows are put together."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from omni.models.minicpmo.decoder import Context, LanguageModel
from omni.models.minicpmo.prompt import ChatPrompt
from omni.models.minicpmo.sampling import TextSampler


def prompt_rows(
    llm: LanguageModel, prompt: ChatPrompt, images: Sequence[Tensor], audio: Tensor | None
) -> Tensor:
    """Embeddings of a prompt, its places filled. [n, D]

    Args:
        images: one for each image place, in order. [queries, D]
        audio: rows for all audio places, one after the other. [rows, D]
    """
    rows = llm.embed(prompt.ids).clone()
    for (start, end), image in zip(prompt.images, images, strict=True):
        rows[start:end] = image
    for start, end in prompt.audios:
        if audio is None or len(audio) < end - start:
            raise ValueError("there is less sound than the prompt has places for")
        rows[start:end] = audio[: end - start]
        audio = audio[end - start :]
    return rows


def generate(
    llm: LanguageModel, context: Context, logits: Tensor, sampler: TextSampler
) -> Iterator[int]:
    """Text of a turn-based answer until a terminator; a token is fed when the next is asked for.

    Args:
        logits: of the prompt's last row. [vocabulary]
    """
    said: list[int] = []
    while True:
        token = sampler.next(logits, said)
        if token in sampler.ids.terminators:
            return
        said.append(token)
        yield token
        [hidden] = llm.feed([context], [llm.embed([token])])
        logits = llm.logits(hidden[-1])

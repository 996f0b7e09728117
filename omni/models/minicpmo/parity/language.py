"""The LLM, its window, prompts and samplers against a pack."""

import itertools
import re
from typing import Any

import torch

from omni.media import slicing
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.parity.bench import Bench, captured, replay
from omni.models.minicpmo.parity.pack import LOGITS, STATES, Item
from omni.models.minicpmo.prompt import Message, Picture, Places, Sound, write_chat
from omni.models.minicpmo.sampling import (
    Decision,
    DecisionIds,
    SpeechRule,
    TextIds,
    TextRule,
    TextSampler,
    decide,
    greedy,
    narrowed,
    penalised,
    speech_narrowed,
    speech_penalised,
)

_CACHE = re.compile(r"([kv])(\d+|last)")
_UNKNOWNS = re.compile(r"(?:<unk>)+")


def check_llm(bench: Bench, item: Item) -> None:
    llm = bench.brain.llm
    parts = []
    for name in ("ids_a", "image_embeds", "ids_b", "audio_embeds", "ids_c"):
        part = item.input(name)
        parts.append(part if part.is_floating_point() else llm.embed(part.tolist()))
    context = llm.open()
    with captured(bench.model.llm.model.layers[0]) as first:
        [hidden] = llm.feed([context], [torch.cat(parts)])
    item.array("last_hidden", hidden, STATES)
    item.array("logits", llm.logits(hidden), LOGITS)
    item.array("layer0_out", first[0].squeeze(0), STATES)
    _check_cache(item, context, "")
    context.close()


def check_kv_slide(bench: Bench, item: Item) -> None:
    llm, given = bench.brain.llm, item.json
    embeds = item.input("embeds")
    context = llm.open()
    fed, protected = given["fed_first"], given["protected"]
    for rows in (embeds[:protected], embeds[protected:fed]):
        llm.feed([context], [rows])
    _check_cache(item, context, "_before")
    context.drop(protected, protected + given["dropped"])
    item.same("kv_len_after_drop", len(context), given["kv_len_after_drop"])
    _check_cache(item, context, "_after")
    [hidden] = llm.feed([context], [embeds[fed:]])
    item.array("hidden_after", hidden, STATES)
    item.array("logits_after", llm.logits(hidden[-1]), LOGITS)
    context.close()


def _check_cache(item: Item, context: Context, ending: str) -> None:
    pool = context.engine.pool
    for name in item.keys:
        match = _CACHE.fullmatch(name.removesuffix(ending))
        if match and name.endswith(ending):
            states = pool.keys if match[1] == "k" else pool.values
            layer = -1 if match[2] == "last" else int(match[2])
            item.array(name, states[layer, context.slot, :, : len(context)], LOGITS)


def check_placeholders(bench: Bench, item: Item) -> None:
    config = bench.model.config
    places = Places(config.num_queries, config.audio_pool)
    for index, case in enumerate(item.json["image"]):
        plan = slicing.plan(tuple(case["size"]), case["max_slice_nums"], config.slicing)
        text = places.image(plan, case["image_idx"] if case["use_image_id"] else None)
        actual = {"text": _counted(text), "n_ids": len(bench.tokens.encode(text))}
        item.fields(f"image[{index}]", case, actual)
    for index, case in enumerate(item.json["audio"]):
        write = places.audio_by_second if case["chunk_input"] else places.audio
        item.fields(f"audio[{index}]", case, {"text": _counted(write(case["samples"]))})


def _counted(text: str) -> str:
    return _UNKNOWNS.sub(lambda match: f"{{{len(match[0]) // len('<unk>')}}}", text)


def check_offline_chat(bench: Bench, item: Item) -> None:
    for case in item.json:
        ChatCase(bench, item, case).check()


class ChatCase:
    """One recorded chat."""

    def __init__(self, bench: Bench, item: Item, case: dict[str, Any]) -> None:
        self.bench = bench
        self.item = item
        self.case = case
        self.options = case["options"]
        self.pictures: list[tuple[slicing.Pixels, int]] = []
        self.sounds: list[torch.Tensor] = []

    def check(self) -> None:
        brain, name = self.bench.brain, self.case["name"]
        messages = [self._message(message) for message in self.case["messages"]]
        config = brain.config
        written = write_chat(
            brain.tokens,
            Places(config.num_queries, config.audio_pool),
            messages,
            "" if self.options.get("omni_mode") else "\n",
            has_image_ids=self.options.get("use_image_id", True),
        )
        tiles = [tile for tiles in brain.eye.see(self.pictures) for tile in tiles]
        sounds = brain.ear.clips(self.sounds, config.audio_chunk_s) if self.sounds else []
        rows = brain.mind.embed(written.filled(tiles, torch.cat(sounds) if sounds else None))
        actual = {
            "prompt": written.template,
            "input_ids": list(written.ids),
            "image_bound": [list(place) for place in written.images],
            "audio_bounds": [list(place) for place in written.audios],
            "greedy_ids": self._answer(rows),
        }
        self.item.fields(name, self.case, actual)
        self.item.array(f"{name}.inputs_embeds", rows, STATES)

    def _message(self, message: dict[str, Any]) -> Message:
        contents: list[str | Picture | Sound] = []
        sounds = []
        limit = self.options.get("max_slice_nums", 9)
        for content in message["content"]:
            match content:
                case ["image", key]:
                    pixels = self.bench.pack.inputs[key]
                    self.pictures.append((pixels, limit))
                    size = (pixels.shape[1], pixels.shape[0])
                    rule = self.bench.brain.eye.slicing
                    contents.append(Picture(slicing.plan(size, limit, rule)))
                case ["audio", span]:
                    sounds.append(self.bench.pack.stream(span))
                    contents.append(Sound(len(sounds[-1])))
                case _:
                    contents.append(content)
        if sounds:  # those of one message are heard as one
            self.sounds.append(torch.cat(sounds))
        return Message(message["role"], tuple(contents))

    def _answer(self, rows: torch.Tensor) -> list[int]:
        """As many of the likeliest tokens as the pack has."""
        llm = self.bench.brain.llm
        plain = TextSampler(TextRule(repetition_penalty=1.0), TextIds((), ()), greedy)
        context = llm.open()
        ids: list[int] = []
        for _ in self.case["greedy_ids"]:
            [hidden] = llm.feed([context], [llm.embed(ids[-1:]) if ids else rows])
            logits = llm.logits(hidden[-1])
            if not ids:
                self.item.array(f"{self.case['name']}.last_logits", logits, LOGITS)
            ids.append(plain.next(logits, ids))
        context.close()
        return ids


def check_samplers(bench: Bench, item: Item) -> None:
    given, tokens = item.json, bench.tokens
    special = {name: getattr(tokens.ids, name) for name in given["special_ids"]}
    item.fields("special_ids", given["special_ids"], special)
    item.same("forbidden_ids", [tokens.ids.tts_pad, *tokens.bad_ids], given["forbidden_ids"])
    ids = tokens.text_ids
    item.same("chat_forbidden_ids", sorted(set(ids.forbidden)), given["chat_forbidden_ids"])
    item.same("chat_terminator_ids", list(ids.terminators), given["chat_terminator_ids"])
    _check_decisions(bench, item)
    _check_texts(bench, item)
    for index, case in enumerate(given["tts"]):
        logits = item.input(f"tts.{index}.logits_first300")
        rule = SpeechRule(
            1.0, case["repetition_penalty"], case["window"], case["top_k"], case["top_p"],
            case["min_tokens_to_keep"],
        )  # fmt: skip
        scores = speech_penalised(logits[None], [case["previous"]], rule)
        item.array(f"tts.{index}.penalised_first300", scores[0], STATES)
        kept = torch.where(speech_narrowed(scores, rule)[0] > -torch.inf)[0].tolist()
        item.same(f"tts.{index}.kept_of_first300", kept, case["kept_of_first300"])


def _check_decisions(bench: Bench, item: Item) -> None:
    special, logits = item.json["special_ids"], item.input("logits")
    ids = DecisionIds(
        special["chunk_eos"], special["turn_eos"], special["im_end"],
        tuple(item.json["forbidden_ids"]),
    )  # fmt: skip
    for index, case in enumerate(item.json["duplex"]):
        p = case["params"]
        rule = Decision(
            p["temperature"], p["top_k"], p["top_p"], p["text_repetition_penalty"],
            p["text_repetition_window_size"], p["length_penalty"], p["listen_prob_scale"],
            p["listen_top_k"],
        )  # fmt: skip
        row, history = logits[index : index + 1], list(case["history"])
        source = replay(None if p["mode"] == "greedy" else case["uniforms"])
        [chosen] = decide(row, [history], rule, ids, [source])
        noted = len(history) - len(case["history"])
        item.fields(f"duplex[{index}]", case, {"id": chosen, "generated_after": noted})
        scores = penalised(row, [case["history"]], rule, ids)
        scores[:, ids.scaled] *= rule.listen_scale
        item.array(f"final_probs.{index}", narrowed(scores, rule).softmax(-1)[0], STATES)


def _check_texts(bench: Bench, item: Item) -> None:
    forbidden = tuple(item.json["chat_forbidden_ids"])
    terminators = tuple(item.json["chat_terminator_ids"])
    for index, case in enumerate(item.json["chat"]):
        table, p = item.input(f"chat.logits.{index}"), case["params"]
        rule = TextRule(
            p["temperature"], p["top_k"], p["top_p"], p["repetition_penalty"],
            length_penalty=p["length_penalty"],
        )  # fmt: skip
        ids = TextIds(terminators, forbidden if p["suppress_forbidden_tokens"] else ())
        sampler = TextSampler(rule, ids, replay(case["uniforms"] if p["do_sample"] else None))
        before = case["previous_ids"][-rule.repetition_window :]
        said: list[int] = []
        is_finished = False
        for logits in itertools.islice(table, case["chunk_size"]):
            token = sampler.next(logits, [*before, *said])
            if token in terminators:
                is_finished = True
                break
            said.append(token)
        item.fields(f"chat[{index}]", case, {"ids": said, "finished": is_finished})

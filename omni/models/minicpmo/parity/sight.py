"""Slicing, the vision tower and both resamplers against a pack."""

import re

import torch
from torch import Tensor

from omni.media import slicing
from omni.media.slicing import Slicing
from omni.models.minicpmo.parity.bench import Bench, captured
from omni.models.minicpmo.parity.pack import EXACT, STATES, Item
from omni.models.minicpmo.vision import axis_ids, valid_rows
from omni.models.resampler import sin_cos, table_2d

_CLEARLY_OTHER = 0.1
_PATCHES = re.compile(r"(.+)\.pixel_values_(first|last)(\d+)")


def check_slicing(bench: Bench, item: Item) -> None:
    rule = Slicing(item.json["scale_resolution"], item.json["patch_size"])
    for index, case in enumerate(item.json["cases"]):
        plan = slicing.plan(tuple(case["size"]), case["max_slice_nums"], rule)
        sizes = [plan.overview, *[plan.cell] * (plan.num_tiles - 1)]
        actual = {
            "grid": plan.grid and list(plan.grid),
            "overview_size": list(plan.overview),
            "refine_size": plan.refined and list(plan.refined),
            "cell_size": plan.cell and list(plan.cell),
            "n_images": plan.num_tiles,
            "tgt_sizes": [[s[1] // rule.patch, s[0] // rule.patch] for s in sizes if s],
        }
        item.fields(f"cases[{index}]", case, actual)


def check_slicing_pixels(bench: Bench, item: Item) -> None:
    rule = bench.model.config.slicing
    for case in item.json:
        picture = bench.pack.inputs[case["input"]]
        tile = slicing.cut(picture, case["max_slice_nums"], rule)[case["index"]]
        rows = torch.from_numpy(slicing.patches(tile, rule))
        name = f"{case['case']}.{case['index']}"
        item.array(f"{name}.u8", torch.from_numpy(tile.copy()), EXACT)
        for key in item.keys:
            match = _PATCHES.fullmatch(key)
            if match and match[1] == name:
                columns = int(match[3]) * rule.patch
                part = rows[..., :columns] if match[2] == "first" else rows[..., -columns:]
                item.array(key, part, EXACT)
        actual = {
            "u8_shape": list(tile.shape),
            "pixel_values_shape": list(rows.shape),
            "tgt_size": list(slicing.patch_size(tile, rule)),
        }
        item.fields(name, case, actual)


def check_vpm(bench: Bench, item: Item) -> None:
    tower, eye = bench.model.vpm, bench.brain.eye
    side = tower.embeddings.side
    table = torch.full((side + 1, side), -1)
    for length in range(1, side + 1):
        table[length, :length] = axis_ids(length, side)
    item.array("position_index_table", table, EXACT)
    for case in _cases(item, ".pixel_u8"):
        with item.part():
            _check_tower(bench, item, case)
    small, middle = bench.pack.inputs["img_small"], bench.pack.inputs["img_mid"]
    for case, pictures in {"frame": [(small, 1)], "batch": [(middle, 2), (small, 1)]}.items():
        tiles = [t for p, limit in pictures for t in slicing.cut(p, limit, eye.slicing)]
        sizes = torch.tensor([slicing.patch_size(tile, eye.slicing) for tile in tiles])
        with captured(tower) as states:
            resampled = [tile for tiles in eye.see(pictures) for tile in tiles]
        item.array(f"{case}.tgt_sizes", sizes, EXACT)
        item.array(f"{case}.last_hidden_state", states[0], STATES)
        item.array(f"{case}.resampled", torch.stack(resampled), STATES)


def _check_tower(bench: Bench, item: Item, case: str) -> None:
    tower = bench.model.vpm
    stored, sizes = item.input(f"{case}.pixel_u8"), item.input(f"{case}.tgt_sizes")
    pixels = (stored.float() / 255 - 0.5) / 0.5
    counts = sizes.long().prod(1)
    longest = int(counts.max())
    patch = pixels.shape[2]
    valid = valid_rows(counts, longest)  # [B, L]
    pixels *= valid.repeat_interleave(patch, dim=1)[:, None, None]
    item.array(f"{case}.valid", counts, EXACT)
    with (
        torch.inference_mode(),
        captured(tower.embeddings) as embedded,
        captured(tower.encoder.layers[0]) as first,
    ):
        states = tower(pixels, sizes.long())
        resampled = bench.model.resampler(states, sizes.long())
    for key, rows in {"embeddings": embedded[0], "layer0": first[0]}.items():
        item.array(f"{case}.{key}", rows * valid[..., None], STATES)
    item.array(f"{case}.last_hidden_state", states, STATES)
    item.array(f"{case}.resampled", resampled, STATES)


def check_resampler2d(bench: Bench, item: Item) -> None:
    for case in _cases(item, ".tgt_sizes"):
        with item.part():
            x, sizes = item.input(f"{case}.x"), item.input(f"{case}.tgt_sizes")
            item.array(f"{case}.out", _resampled(bench, x, sizes, None), STATES)
    if "pos_embed_rc" in item.arrays:
        places = item.input("pos_embed_rc")
        rows, columns = places.T
        table = table_2d(int(places.max()) + 1, bench.model.config.hidden_size)
        item.array("pos_embed_rows", table[rows, columns], STATES)


def check_resampler3d(bench: Bench, item: Item) -> None:
    for case in _cases(item, ".tgt_sizes"):
        with item.part():
            _check_packed(bench, item, case)
    if "temporal_table_ids" in item.arrays:
        ids = item.input("temporal_table_ids")
        item.array("temporal_table_rows", sin_cos(ids, bench.model.config.hidden_size), STATES)


def _check_packed(bench: Bench, item: Item, case: str) -> None:
    x, sizes = item.input(f"{case}.x"), item.input(f"{case}.tgt_sizes")
    times, groups = item.input(f"{case}.temporal_ids_flat"), item.input(f"{case}.group_sizes")
    packed = [part.tolist() for part in torch.split(times, groups.tolist())]
    out = _resampled(bench, x, sizes, packed)
    item.array(f"{case}.out", out, STATES)
    item.differs(f"{case}.known_wrong_swapped_kv", out, _CLEARLY_OTHER)
    # The other path of the released file is none of ours when frames differ in size.
    item.differs(f"{case}.out_foreach_variant", out, _CLEARLY_OTHER)


@torch.inference_mode()
def _resampled(bench: Bench, x: Tensor, sizes: Tensor, times: list[list[int]] | None) -> Tensor:
    out: Tensor = bench.model.resampler(x, sizes.long(), times)
    return out


def _cases(item: Item, ending: str) -> list[str]:
    return [name.removesuffix(ending) for name in item.arrays if name.endswith(ending)]

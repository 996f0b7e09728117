"""`omni parity PACK`: is our MiniCPM-o the released one, number by number?

Recomputes every array of a golden pack through production code and prints how far each file is.
"""

import argparse
from pathlib import Path

import torch

from omni.models.minicpmo.parity.pack import EXACT, Item, Row
from omni.models.minicpmo.parity.run import check_pack

_MOST_SHOWN = 8  # differences of a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pack", type=Path, help="folder with a checkpoint, inputs and golden files")
    parser.add_argument("--all", action="store_true", help="list every array, not just every file")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 if all is within tolerance, 1 if not.

    Raises:
        AssetError, ConfigError: the pack's checkpoint cannot be loaded.
    """
    torch.set_num_threads(1)
    failed = 0
    print(f"{'file':32} {'arrays':>6} {'max error':>10} {'tolerance':>9} {'values':>6}  differ")
    for item in check_pack(args.pack):
        failed += _print_item(item, item.rows if args.all else [])
    print(f"{failed} differences" if failed else "all within tolerance")
    return int(failed > 0)


def _print_item(item: Item, shown: list[Row]) -> int:
    arrays = [row for row in item.rows if row.tolerance != EXACT]
    values = [row for row in item.rows if row.tolerance == EXACT]
    bad = [row for row in item.rows if not row.is_good]
    # The array nearest to its tolerance, or furthest beyond it, speaks for the file.
    worst = max(arrays, key=lambda row: row.error / row.tolerance, default=None)
    error = f"{worst.error:10.1e} {worst.tolerance:9.0e}" if worst else f"{'':10} {'':9}"
    print(f"{item.name:32} {len(arrays):6} {error} {len(values):6}  {len(bad) or '-'}")
    for row in shown or bad[:_MOST_SHOWN]:
        mark = " " if row.is_good else "!"
        print(f"  {mark} {row.name:40} {row.error:10.1e} {row.tolerance:9.0e}  {row.detail}")
    if not shown and len(bad) > _MOST_SHOWN:
        print(f"    and {len(bad) - _MOST_SHOWN} more")
    return len(bad)

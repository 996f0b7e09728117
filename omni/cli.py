"""The `omni` command: one subcommand per module of omni/commands, imported only when called.

A command module has `add_arguments(parser)` and `run(args) -> int`, the exit status. Errors that
a user can mend are printed as one line and exit with 2.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version

from omni.errors import AssetError, ConfigError

COMMANDS = {
    "serve": "start the server and its page",
    "pull": "fetch a profile's model files",
    "talk": "say something to it and hear the reply",
    "chat": "talk with it on this machine's microphone and speakers",
    "bench": "measure latency and throughput",
    "eval": "measure how well it takes turns and stands bad networks",
    "doctor": "check this machine and say what to do",
    "parity": "compare our MiniCPM-o with what the released code computed",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((item for item in arguments if not item.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="omni", description="A server you can talk to.")
    parser.add_argument("--version", action="version", version=f"omni {version('omni')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
        if name == chosen:
            module = importlib.import_module(f"omni.commands.{name}")
            _add_common(command)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except (AssetError, ConfigError) as error:
        print(f"omni: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        default="embedded",
        metavar="PROFILE",
        help="name of a profile or path of a YAML file (default: embedded)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        dest="overrides",
        help="override one setting; may be repeated",
    )

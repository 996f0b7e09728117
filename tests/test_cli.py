"""The command line: instant help, one line for an error, every command in its own module."""

import importlib
import subprocess
import sys

import pytest

from omni import cli


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_module(name: str) -> None:
    module = importlib.import_module(f"omni.commands.{name}")
    assert callable(module.add_arguments)
    assert callable(module.run)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "--config PROFILE" in said
    assert "--set A.B=C" in said


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from omni import cli\n"
        "try: cli.main(['--help'])\n"
        "finally: print('heavy:', {'numpy', 'pydantic', 'rich', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert all(name in done.stdout for name in cli.COMMANDS)
    assert done.stdout.endswith("heavy: set()\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pull", "nobody"], "no profile 'nobody'"),
        (["pull", "stub", "--set", "server.port=high"], "server.port"),
        (["pull", "stub", "--set", "server"], "KEY=VALUE"),
    ],
)
def test_a_mendable_error_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_an_interrupt_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    pull = importlib.import_module("omni.commands.pull")

    def interrupted(_args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(pull, "run", interrupted)
    assert cli.main(["pull", "stub"]) == 130

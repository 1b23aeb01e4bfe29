"""The application object, the options that several commands share, and what a user sees of an error."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import typer.core

from golfdeblur import __version__, machine
from golfdeblur.errors import ConfigError, GolfError
from golfdeblur.files import atomic

app = typer.Typer(
    name="golf",
    help="Take the motion blur out of photographs, offline, with 2 MB of weights.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelOption = Annotated[str, typer.Option("--model", "-m", help="An embedded model's name, or a model folder.")]
StepsOption = Annotated[int, typer.Option("--steps", "-n", help="At most this many corrections after the first step.")]
EnsembleOption = Annotated[
    bool,
    typer.Option("--self-ensemble", help="Take the mean over the picture turned and mirrored: 8 times slower, better."),
]
StrengthOption = Annotated[
    float, typer.Option("--strength", help="How much of the result, the rest is the input: 0 to 1.")
]
RuntimeOption = Annotated[
    str, typer.Option("--runtime", help="What computes: auto, onnxruntime, openvino, torch, ...: see golf info.")
]
MemoryOption = Annotated[
    str | None, typer.Option("--max-memory", help="Most memory to use, such as 2G. Half of what is free if left out.")
]


def _use_threads(count: int | None) -> int | None:
    """Let all that computes in this process, and in those it starts, have `count` threads."""
    if count is not None:
        os.environ[machine.SETTING] = str(count)
    os.environ.setdefault("OMP_NUM_THREADS", str(machine.threads()))  # numpy's and torch's products
    return count


ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        callback=_use_threads,
        help="How many compute at once (or GOLF_THREADS). All cores if left out.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace outputs that exist already.")]


def main() -> None:
    """Run the command; errors of the user's making end in one sentence on stderr."""
    # Threads of torch that wait by spinning take the cores from those that work: 6 times as long on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):  # a name of a file may have letters that a pipe's encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except GolfError as error:
        fail(str(error), code=error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        fail(f"{error.filename or 'The system'}: {error.strerror}; check the path and the free space.")
    except MemoryError:
        fail("There is not enough memory for this picture; close other programs or reduce it.")


def default_command(name: str, *, needs_arguments: bool) -> type[typer.core.TyperGroup]:
    """Return a class of groups that take `golf GROUP ...` as `golf GROUP NAME ...` where no command is named.

    `golf GROUP` alone shows the help if NAME `needs_arguments`.
    """

    class Group(typer.core.TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            known = {*self.commands, *ctx.help_option_names}
            complete = args[0] in known if args else needs_arguments
            return super().parse_args(ctx, args if complete else [name, *args])

    return Group


def fail(sentence: str, *, code: int = 1) -> None:
    """Print one sentence to stderr and leave with `code`."""
    print(f"golf: {sentence}", file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"golfdeblur {__version__}")
        raise typer.Exit()


def progress(items: Iterable[Any], total: int | None, label: str, *, quiet: bool) -> Iterator[Any]:
    """Yield the items, with a bar on a terminal; in a pipe the lines that are printed anyway are enough.

    A Ctrl-C that came during an item ends it there, or at the latest before the next item.
    """
    with interrupts_remembered() as interrupted:
        for item in items if quiet or total == 1 or not sys.stderr.isatty() else _with_bar(items, total, label):
            yield item
            if interrupted:
                raise KeyboardInterrupt


def _with_bar(items: Iterable[Any], total: int | None, label: str) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import track

    yield from track(items, label, total=total, console=Console(stderr=True))


@contextlib.contextmanager
def interrupts_remembered() -> Iterator[list[int]]:
    """Collect SIGINT in a list beside raising KeyboardInterrupt, which a callback or a destructor would swallow."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)


def read_result(file: Path) -> dict[str, Any]:
    """Read a file of `golf evaluate --json`. Raises ConfigError if it is none."""
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        missing = {"data", "model", "steps", "images", "mean", "input_mean"} - result.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); give a file that golf evaluate --json wrote.") from error
    if missing:
        raise ConfigError(f"{file} lacks {', '.join(sorted(missing))}; give a file that golf evaluate --json wrote.")
    return result


def check_new(path: Path, *, force: bool) -> None:
    """Raise ConfigError if `path` exists and may not be replaced, or its folder does not exist."""
    if not path.parent.is_dir():
        raise ConfigError(f"The folder {path.parent} does not exist; make it first.")
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already; use --force to replace it, or give another name.")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises ConfigError where it cannot be written."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises ConfigError where it cannot be written."""
    try:
        atomic.write(path, content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another place.") from error


@contextlib.contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Turn a missing import inside the block into a ConfigError that names the extra to install."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"This needs {error.name}; pip install 'golfdeblur[{name}]'.") from error

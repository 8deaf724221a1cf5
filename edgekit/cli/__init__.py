"""The command line: finds the command, runs it, and turns every failure into one paragraph and an exit code.

Nothing heavy is imported here or in a command's module: `--help` must answer at once.
"""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Sequence

import click

from edgekit import __version__
from edgekit.cli import options
from edgekit.errors import EdgekitError

# In the order of the pipeline; each is a module of this package with a click command of the same name.
COMMANDS = (
    "compress", "recipes", "fetch", "inspect", "prune", "analyze", "quantize", "export", "convert",
    "validate", "check", "diff", "results", "detect", "classify", "ocr", "bundle", "arm", "bench", "android",
    "doctor",
)  # fmt: skip

BUG, INTERRUPTED, BROKEN_PIPE = 1, 130, 141  # the last two as a shell counts them: 128 + signal


class Commands(click.Group):
    """Imports the module of a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"edgekit.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgekit")
@options.debug
def edgekit() -> None:
    """Turn a trained Paddle vision model into an edge bundle that has proved itself.

    \b
    Example:
      edgekit compress --recipe picodet_s
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. 0 done, 1 a bug, 2 usage, 3 gate, 4 input, 5 engine."""
    state = {"debug": False}  # set by --debug, which every command has
    stdout = sys.stdout
    try:
        code = edgekit.main(
            args=None if arguments is None else list(arguments),
            prog_name="edgekit",
            standalone_mode=False,
            obj=state,
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit:
        # click answers a broken pipe with a muffled stdout and exit 1, which here would mean a bug.
        if sys.stdout is not stdout:
            return BROKEN_PIPE
        raise
    except Exception as error:
        if state["debug"]:
            traceback.print_exc()
        known = error if isinstance(error, EdgekitError) else _from_system(error)
        if known is not None:
            _paragraph(f"error {known.code}: {known.message}")
            return known.exit_code
        hint = "" if state["debug"] else " Run it again with --debug for the traceback, and report it."
        _paragraph(f"error: a bug in edgekit: {type(error).__name__}: {str(error).rstrip('.')}.{hint}")
        return BUG


def _from_system(error: Exception) -> EdgekitError | None:
    """What the operating system refuses is the user's to mend, not a bug."""
    if not isinstance(error, OSError):
        return None
    path, reason = error.filename, error.strerror
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EdgekitError(
            "EK410", f"The disk is full{f' while writing {path}' if path else ''}. Free some space, or move "
            "the cache (EDGEKIT_CACHE) and the output (--out) to another disk."
        )  # fmt: skip
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        if path is not None and os.path.isfile(path) and not os.access(path, os.R_OK):
            return EdgekitError("EK401", f"{path} cannot be read: {reason}.")
        return EdgekitError("EK106", f"{path or 'The output'} cannot be written: {reason}.")
    return None


def _paragraph(text: str) -> None:
    text = " ".join(text.split("\n"))
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    print(text, file=sys.stderr, flush=True)

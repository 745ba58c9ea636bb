"""The `tuner` command: all groups together, and what each error means for whoever called it.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or an invalid file, 3 a server is not reachable, 130 interrupted. An error is one
sentence on standard error. TUNER_TRACEBACK=1 also shows where an error that nobody foresaw comes from.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tuner import __version__
from tuner.cli import demo, key, migrate, search, server, study, trial, up, worker
from tuner.cli.output import make_visible, say
from tuner.cli.parts import TRACEBACK, follow_parent
from tuner.errors import ArtifactsUnavailable, DatabaseUnavailable, Invalid, ServerUnreachable, TunerError

FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    name="tuner",
    help="Tune hyperparameters: submit a study, let workers run its trials, watch it live.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(study.app, name="study")
app.add_typer(trial.app, name="trial")
app.add_typer(key.app, name="key")
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("server")(server.server)
app.command("search")(search.search)
app.command("worker")(worker.worker)
app.command("migrate")(migrate.migrate)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"tuner {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and end the process with its exit code."""
    follow_parent()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of a command line."""
    try:
        return app(arguments, prog_name="tuner", standalone_mode=False) or 0
    except TyperException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
            say(context.get_help())
            return USAGE
        message = (
            " ".join(make_visible(error.format_message().replace("\n", " ")).split()).rstrip(".").replace("Value error, ", "")
        )
        command = context.command_path if context is not None else "tuner"
        say(f"{command}: {message}; see `{command} --help`")
        return error.exit_code
    except typer.Abort:
        return INTERRUPTED
    except TunerError as error:
        say(f"tuner: {make_visible(' '.join(error.message.split()))}")
        return _exit_code(error)
    except BrokenPipeError:
        # Whoever read the output has left, as `head` does: nothing more to say, also not while the interpreter closes its streams.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        shown = os.environ.get(TRACEBACK)
        if shown:
            traceback.print_exc()
        text = make_visible(" ".join(str(error).split()))[:500]
        say(f"tuner: unexpected {type(error).__name__}: {text}" + ("" if shown else f" ({TRACEBACK}=1 shows where)"))
        return FAILED


def _exit_code(error: TunerError) -> int:
    if isinstance(error, ServerUnreachable | DatabaseUnavailable | ArtifactsUnavailable):
        return UNREACHABLE
    return USAGE if isinstance(error, Invalid) else FAILED


if __name__ == "__main__":
    main()

"""launch.py with a fault in it: python dying.py KIND NUMBER DELAY WORDS..., or one such line of JSON after
another at the standard input of `python dying.py`, which imports what a run needs once, and answers each with
the exit code of a forked process and what it said.

none        nothing

clock       kill -9 after DELAY seconds
step        kill -9 at the NUMBERth step, DELAY seconds after its loss is known
torn        kill -9 half way through the NUMBERth file that is written whole or not at all
unrenamed   the same, when it is written and has not yet its name
renamed     the same, when it has
full        instead of a kill: no space left half way through that file
A KIND with `-ckpt` behind it counts checkpoints only.
"""

import errno
import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import launch
from threestudio_like import files
from threestudio_like.run.guard import Guard


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def at_step(number: int, delay: float) -> None:
    seen, before = [0], Guard.on_before_backward

    def counted(self: Guard, *args: object) -> None:
        seen[0] += 1
        if seen[0] == number:
            threading.Timer(delay, die).start()
        before(self, *args)

    Guard.on_before_backward = counted


def at_file(kind: str, number: int, only: str) -> None:
    seen, flush = [0], files._flush

    def counted(path: Path) -> None:
        if path.is_dir():  # after the rename
            if kind == "renamed" and seen[0] == number:
                die()
            return flush(path)
        seen[0] += path.name.endswith(only)
        if seen[0] == number and path.name.endswith(only):
            if kind in ("torn", "full"):
                halve(path)
            if kind == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(path)
            if kind != "renamed":
                die()
        flush(path)

    files._flush = counted


def live(kind: str, number: int, delay: float, words: list[str]) -> None:
    """The run, to its fault or its end."""
    name, _, only = kind.partition("-")
    if kind == "clock":
        threading.Timer(delay, die).start()
    elif kind == "step":
        at_step(number, delay)
    elif kind != "none":
        at_file(name, number, only)
    sys.argv = ["launch.py", *words]
    launch.main()


def forked(*life: Any) -> tuple[int, str]:
    """Exit code and words of a life in a process of its own."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for stream in (1, 2):
                    os.dup2(said.fileno(), stream)
                live(*life)
                code = 0
            except SystemExit as stopped:
                code = int(stopped.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        return code, said.read()


if __name__ == "__main__":
    if sys.argv[1:]:
        kind, number, delay, *words = sys.argv[1:]
        live(kind, int(number), float(delay), words)
    else:
        import threestudio_like.run.session  # noqa: F401  and torch, Lightning and the rest with it

        for line in sys.stdin:
            print(json.dumps(forked(*json.loads(line))), flush=True)

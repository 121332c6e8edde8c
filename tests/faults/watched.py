"""Run commands on runs one after another under an audit hook, in a separate process; report what
each did.

Read from stdin: {"allowed": [folders], "seconds": limit, "cases": [[name, folder, [[command,
arguments], ...]], ...]}. The first case is an ordinary run: what Python does for it is not reported
for the others. Written to stdout: one JSON object per case and command, then the process's largest
resident size before and after, in bytes.
"""

import contextlib
import io
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import charrnn
from charrnn.commands.app import run
from charrnn.errors import CharRNNError
from charrnn.training import session

NEVER = (
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "pty.",
    "socket.",
    "pickle.",
)
NEVER += (
    "urllib.",
    "http.",
    "ftplib.",
    "webbrowser.",
    "ctypes.dlopen",
    "code.",
    "sys.addaudithook",
)
CODE = ("exec", "compile", "import", "marshal.loads")
WRITES = (
    "os.remove",
    "os.rename",
    "os.truncate",
    "os.chmod",
    "os.link",
    "os.symlink",
    "os.mkdir",
    "os.rmdir",
)

events: set[str] = set()
is_watching = False
allowed: tuple[str, ...] = ()


def hook(event: str, arguments: tuple[object, ...]) -> None:
    global is_watching
    if not is_watching:
        return
    is_watching = False  # the events of this function itself must not call it again
    try:
        if event.startswith(NEVER):
            events.add(f"{event} {str(arguments[:2])[:150]}")
        elif event in CODE:
            source = (
                getattr(arguments[0], "co_filename", None)
                or arguments[1 if event == "compile" else 0]
            )
            events.add(f"{event} {str(source)[:150]}")
        elif event == "open" or event in WRITES:
            for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                if isinstance(path, str | bytes | os.PathLike):
                    # Renaming or removing a link acts on the link itself, not on its target.
                    folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
                    real = os.path.realpath(
                        os.path.join(folder, name) if event == "open" else folder
                    )
                    if not real.startswith(allowed):
                        events.add(f"{event} {real}")
    finally:
        is_watching = True


def too_long(number: int, frame: object) -> None:
    raise TimeoutError("the limit of the test")


def call(command: str, arguments: list[str]) -> int:
    if command != "load":
        return run(arguments)
    try:
        charrnn.load(arguments[0]).sample(length=5)
    except CharRNNError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def main() -> None:
    global is_watching, allowed
    job = json.load(sys.stdin)
    allowed = tuple(job["allowed"])
    session.SAMPLE_LENGTH = 24
    sys.addaudithook(hook)
    signal.signal(signal.SIGALRM, too_long)
    honest: set[str] = set()
    for index, (name, folder, lines) in enumerate(job["cases"]):
        os.chdir(folder)
        for command, arguments in lines:
            out, err = io.StringIO(), io.StringIO()
            events.clear()
            signal.alarm(job["seconds"])
            began = time.process_time()  # processor time, which does not depend on other processes
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                is_watching = True
                try:
                    code = call(command, arguments)
                except BaseException as error:
                    code = f"{type(error).__name__}: {error}"[:300]
                is_watching = False
            seconds = time.process_time() - began
            signal.alarm(0)
            if index == 0:
                honest |= events
            report = {
                "case": name,
                "command": command,
                "code": code,
                "out": out.getvalue(),
                "err": err.getvalue(),
            }
            report |= {"seconds": seconds, "events": sorted(events - honest), "peak": peak_bytes()}
            report["has_compiler"] = "torch._dynamo" in sys.modules
            sys.__stdout__.write(json.dumps(report) + "\n")
            sys.__stdout__.flush()


def peak_bytes() -> int:
    """Return the peak resident size of this process in bytes; outside Linux also before Python
    started."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


if __name__ == "__main__":
    main()

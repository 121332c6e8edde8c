"""Record the moving picture of the tour; `tools/figures.py` calls this.

The commands below are typed into bash in a terminal of its own, in an empty folder: the model is
one of those that are included. What the programs print is recorded with its times (asciicast
version 2). Two things are changed: a command that takes longer than its limit is played faster, and
the screen is cleared between commands. `termtosvg` (pip install termtosvg-ng) draws the recording.
It needs Linux or macOS.
"""

import codecs
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import tempfile
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

COLUMNS, ROWS = 84, 26
"""Size of the terminal in characters."""
PROMPT = "\x1b[1;32m$\x1b[0m "
"""What bash prints before a command."""
KEY_SECONDS = 0.035
"""Time between two letters of a command."""
ENTER_SECONDS = 0.4
"""Time between the last letter of a command and the key Enter."""
LOADED = "AUC"
"""What `explore` shows as soon as the cells are scored."""
READING_SECONDS = 2.5
"""How long the result of a command stays."""
STILL = 0
"""The command whose result a viewer without animations shows, from 0."""
COMMANDS = (
    ("charrnn demo", 8.0, ()),
    ("charrnn sample prose --known-words --temp 0.6 --seed 7 --length 417", 2.0, ()),
    ("charrnn visualize prose --detector quote --top 1", 2.0, ()),
    ("charrnn explore prose", 1.5, ("\x1b[B", "\x1b[B", "\x1b[6~", "\x1b[6~")),
)
"""What is typed, the seconds that its run is played in at most, and the keys that are pressed while
it runs. A command with keys is the last one, and the picture ends while it runs."""
THEME = {
    "fg": "#e6e6ea",
    "bg": "#17181c",
    "palette": ":".join(
        ("#17181c #f08080 #6cc98a #d6a843 #82aaff #d59ad8 #5cc4d0 #c8c8cc " * 2).split()
    ),
}
"""Colours of the terminal: those of dark pictures of charrnn."""
FONT_SIZE = 13.29
"""Size of the font whose letters are 8 pixels wide in DejaVu Sans Mono, as the columns are."""
BASELINE = 13
"""Distance of the baseline from the top of a line, in pixels."""
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "demo.svg"
"""The file that is written."""


@dataclass
class Recording:
    """What a terminal showed: seconds of its clock, and the text that was printed then."""

    master: int
    now: float = 0.0
    events: list[tuple[float, str]] = field(default_factory=list)
    shown: str = ""
    """All text so far."""
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    """Keeps the beginning of a character until the terminal sends the rest."""

    def read(self, until: str | None, limit: float, most: float, *, contains: str = "") -> None:
        """Record until the output ends in `until`, or, without it, has been still for two seconds
        and has `contains`.

        The output is played in `limit` seconds at most. Raises TimeoutError after `most` seconds.
        """
        before = len(self.shown)
        started, last, arrived = time.monotonic(), time.monotonic(), []
        while True:
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if ready:
                data = self.decoder.decode(os.read(self.master, 65_536))
                last = time.monotonic()
                arrived.append((last - started, data))
                self.shown += data
            quiet = time.monotonic() - last
            if until is None and arrived and quiet > 2 and contains in self.shown[before:]:
                break
            if until is not None and self.shown.endswith(until) and quiet > 0.2:
                break
            if time.monotonic() - started > most:
                raise TimeoutError(self.shown[-2000:])
        took = max(arrived[-1][0], 1e-9)
        scale = min(1.0, limit / took)
        self.events += [(self.now + at * scale, data) for at, data in arrived]
        self.now += took * scale

    def type(self, keys: str) -> None:
        """Type a command letter by letter, and record its echo."""
        for key in keys:
            os.write(self.master, key.encode())
            time.sleep(KEY_SECONDS)
            self.now += KEY_SECONDS
            self.events.append((self.now, key))
            os.read(self.master, 4096)


def record(folder: Path) -> tuple[Recording, float]:
    """Record all commands, and return the recording and the time at which the still picture is
    taken."""
    process, master = pty.fork()
    if process == 0:
        os.chdir(folder)
        terminal = {
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "CHARRNN_BACKGROUND": "dark",
            "PS1": "$ ",
        }
        keep = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LANG", "PYTHONPATH")
            if name in os.environ
        }
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting"], {**keep, **terminal})
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    recording, still = Recording(master), 0.0
    recording.read("$ ", 0.1, 10)
    for number, (command, limit, keys) in enumerate(COMMANDS):
        if number > 0:
            recording.events.append((recording.now, "\x1b[2J\x1b[H$ "))
        recording.type(command)
        recording.now += ENTER_SECONDS
        os.write(master, b"\n")
        if keys:
            recording.read(None, limit, 600, contains=LOADED)
            for key in keys:
                recording.now += 1.3
                os.write(master, key.encode())
                recording.read(None, 0.3, 120)
            recording.now += READING_SECONDS
            # The screen as it is left is no end of a picture: this is not recorded.
            os.write(master, b"q")
            Recording(master).read("$ ", 0.3, 120)
        else:
            recording.read("$ ", limit, 1200)
            recording.now += READING_SECONDS
        if number == STILL:
            still = recording.now - READING_SECONDS / 2
    os.write(master, b"exit\n")
    os.waitpid(process, 0)
    return recording, still


def for_all_viewers(svg: str, seconds: float) -> str:
    """Return what termtosvg wrote with the frame of a time as what a viewer without animations
    shows.

    Such viewers know neither `dominant-baseline`, `white-space` nor `textLength`, so each text gets
    its baseline, the width of its columns and `xml:space`.
    """
    keyframes = re.findall(r"([\d.]+)%\s*\{\s*transform:\s*translateY\((-?[\d.]+)px\)", svg)
    total = float(re.findall(r"--animation-duration:\s*([\d.]+)ms", svg)[0]) / 1000
    offset = [place for share, place in keyframes if float(share) / 100 * total <= seconds][-1]
    svg = svg.replace('id="screen_view"', f'id="screen_view" transform="translate(0 {offset})"', 1)
    svg = svg.replace("dominant-baseline: text-before-edge;", "", 1)
    svg = svg.replace("font-size: 14px;", f"font-size: {FONT_SIZE}px;", 1)
    svg = svg.replace("<text ", f'<text y="{BASELINE}" ')
    return svg.replace("<svg ", '<svg xml:space="preserve" ', 1)


def draw_demo() -> None:
    """Record the commands and draw the picture."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as scratch:
        recording, still = record(Path(home))
        header = {"version": 2, "width": COLUMNS, "height": ROWS}
        events = [
            json.dumps(
                [
                    round(at, 3),
                    "o",
                    data.removesuffix("$ ") + PROMPT if data.endswith("$ ") else data,
                ]
            )
            for at, data in recording.events
        ]
        cast, theme = Path(scratch) / "demo.cast", Path(scratch) / "theme.json"
        cast.write_text("\n".join([json.dumps(header), *events]) + "\n", encoding="utf-8")
        theme.write_text(json.dumps(THEME), encoding="utf-8")
        options = ["-t", "window_frame", "--theme", str(theme), "-m", "90", "-D", "3000"]
        subprocess.run(["termtosvg", "render", str(cast), str(PICTURE), *options], check=True)
    drawn = for_all_viewers(PICTURE.read_text(encoding="utf-8"), still)
    PICTURE.write_text(drawn, encoding="utf-8")

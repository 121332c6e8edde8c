"""compress and decompress: what they refuse, and that a file is the old one or a whole new one
whatever happens."""

import errno
import io
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TrainedRun, clean_environment
from faulty_disk import Killed, faulty_disk
from fixture_types import Command

import charrnn
from charrnn.api import Model
from charrnn.errors import CharRNNError, CheckpointError, DataError
from charrnn.formats.crnn import command as commands
from charrnn.formats.crnn import container
from charrnn.formats.crnn.command import coder_of, compress_text

TEXT = b'tarn "molu zib"\r\n\xff\0 ' + "语 tarn".encode()


@pytest.fixture(scope="session")
def model(gru: TrainedRun) -> Model:
    return charrnn.load(gru.path)


def test_files_become_compressed_ones_and_come_back(
    command: Command, gru: TrainedRun, tmp_path: Path
) -> None:
    for name, data in {"a.txt": TEXT, "b": b""}.items():
        Path(name).write_bytes(data)
    Path("a.txt").chmod(0o600)
    assert (
        "--order 9 is not 1 to 6" in command("compress", gru.path, "a.txt", "b", "--order", "9").err
    )
    ran = command("compress", gru.path, "a.txt", "b", "--ngrams", "3")
    assert (ran.code, ran.out) == (0, "a.txt.crnn\nb.crnn\n"), ran.err
    assert f"{len(TEXT)} bytes to {Path('a.txt.crnn').stat().st_size}" in ran.err
    assert "exists" in command("decompress", gru.path, "a.txt.crnn").err
    for name in ("a.txt", "b"):
        Path(name).rename(f"old {name}")
    ran = command("decompress", gru.path, "a.txt.crnn", "b.crnn", "--json")
    assert {ran.code, *(Path(name).stat().st_mode & 0o077 for name in ("a.txt", "a.txt.crnn"))} == {
        0
    }, ran.err
    first = json.loads(ran.out.splitlines()[0])
    assert first.pop("seconds") >= 0 and first.pop("chars_per_second") > 0
    assert first.pop("bpc") == 8 * Path("a.txt.crnn").stat().st_size / sum(
        byte & 0xC0 != 0x80 for byte in TEXT
    )
    sizes = {"bytes_in": Path("a.txt.crnn").stat().st_size, "bytes_out": len(TEXT)}
    assert first == {"file": "a.txt.crnn", "output": "a.txt", "order": 3, **sizes}
    assert Path("a.txt").read_bytes() == TEXT and Path("b").read_bytes() == b""
    assert (
        command(
            "compress", gru.path, "a.txt", "--output", "whole.crnn", "--with-model", "--quiet"
        ).err
        == ""
    )
    assert (
        command("decompress", "whole.crnn", "--out", "again").code == 0
        and Path("again").read_bytes() == TEXT
    )
    assert command("decompress", gru.path, "whole.crnn", "-o", "again", "--force").code == 0
    ran = command("decompress", "a.txt.crnn", "-o", "none")
    assert ran.code == 4 and not Path("none").exists(), "there is no run in this folder"


def test_of_several_files_those_are_converted_that_can_be(
    command: Command, gru: TrainedRun, tmp_path: Path
) -> None:
    Path("b").write_bytes(b"")
    ran = command("compress", gru.path, "missing", "b", "away", "--with-model")
    assert (ran.code, ran.out, ran.err.count("No such file")) == (3, "b.crnn\n", 2), ran.err
    assert ran.err.splitlines()[-1] == "error: 2 of 3 files failed."
    Path("b").write_bytes(TEXT)
    shutil.copytree(gru.path, "copy")
    for weights in Path("copy").glob("step-*[1-9]/model.safetensors"):
        weights.write_bytes(b"cut")
    assert (
        "model.safetensors is damaged" in command("compress", "copy", "b", "--quiet", "--force").err
    )
    assert "%" not in command("compress", gru.path, "b", "--with-model", "--force").err, (
        "more than ten times as large"
    )


def test_no_file_that_is_read_is_replaced_and_a_device_is_no_file(
    command: Command, gru: TrainedRun
) -> None:
    Path("two").write_bytes(TEXT)
    Path("two.crnn").write_bytes(b"text")
    ran = command("compress", gru.path, "two", "two.crnn", "--force")
    assert (ran.code, "two.crnn is the file that is read" in ran.err) == (2, True), ran.err
    assert "two is named twice" in command("compress", gru.path, "two", "two", "--force").err
    assert Path("two.crnn").read_bytes() == b"text"
    if Path("/dev/null").exists():
        assert command("compress", gru.path, "two", "-o", "/dev/null").code == 0


def test_streams_are_read_and_written(gru: TrainedRun, tmp_path: Path) -> None:
    """In processes, because pytest replaces the streams of this one."""
    script = (
        'p="$1"; shift; "$p" -m charrnn compress "$1" - -o - | "$p" -m charrnn decompress "$1" -'
        " -o -"
    )
    call = ["sh", "-c", script, "sh", sys.executable, str(gru.path)]
    ran = subprocess.run(call, input=TEXT, capture_output=True, env=clean_environment())
    assert ran.stdout == TEXT, ran.stderr


def test_a_file_of_a_newer_version_or_a_cut_one_is_refused(
    command: Command, gru: TrainedRun, model: Model
) -> None:
    """The texts of the other refusals are in tests/lock."""
    compressed = model.compress(TEXT)
    files = {"newer.crnn": compressed[:7] + b"\3" + compressed[8:], "cut.crnn": compressed[:-4]}
    for (name, data), words in zip(files.items(), ("version 3", "it ends in block 1"), strict=True):
        Path(name).write_bytes(data)
        ran = command("decompress", gru.path, name)
        assert (ran.code, ran.out, words in ran.err) == (3, "", True), ran.err
        assert [path.name for path in Path().glob("*.crnn*")] == [name] and not Path(
            name
        ).with_suffix("").exists()
        Path(name).unlink()
    refused = command("compress", gru.path, "a\0", "-o", "c")
    assert refused.code == 3 and refused.err.startswith("error: cannot read a")


def test_no_terminal_is_filled_with_bytes(
    command: Command, gru: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(commands.sys, "stdout", sys.stdout)
    ran = command("compress", gru.path, "-", stdin=b"a")
    assert ran.code == 2 and "fill the terminal" in ran.err


def assert_refused(model: Model, damaged: list[bytes]) -> None:
    coder, digest = coder_of(model)
    for data in damaged:
        source = io.BytesIO(data)
        with pytest.raises((DataError, CheckpointError)):
            container.check_model(container.read_header(source, "a"), digest, "a", "it")
            list(container.decompress(coder, source, "a"))


@pytest.mark.parametrize("order", [0, 2])
def test_every_cut_and_every_flipped_bit_is_an_error(model: Model, order: int) -> None:
    whole = model.compress(TEXT[:6], order=order)
    damaged = [whole[:end] for end in range(len(whole))] + [whole + b"\0", whole + whole]
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    assert_refused(model, damaged)


@pytest.mark.thorough
def test_two_thousand_random_damages_are_errors(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 20)
    whole, generator = model.compress(TEXT * 3), random.Random(5)
    damaged = []
    while len(damaged) < 2_000:
        data, at = bytearray(whole), generator.randrange(len(whole))
        data[at : at + generator.randrange(9)] = generator.randbytes(generator.randrange(9))
        damaged += [bytes(data)] * (data != whole)
    assert_refused(model, damaged)


def test_of_a_damaged_file_the_whole_blocks_are_salvaged(
    command: Command, model: Model, gru: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 10)
    monkeypatch.setattr(container, "MAX_ROWS", 2)
    monkeypatch.setattr(container, "ROW_BYTES", 12)
    rows = [b"tarn molu zi", b"zib tarn mol", b"molu molu ta", b"tarn zib mol"]
    data = bytearray(model.compress(b"".join(rows)))
    coded = coder_of(model)[0].encode(rows[:1])[0]
    assert coded is not None
    data[data.index(coded)] ^= 1
    for end, whole in ((len(data), rows[1:]), (len(data) - 2, rows[1:3])):
        Path("a.crnn").write_bytes(data[:end])
        assert command("decompress", gru.path, "a.crnn").code == 3 and not Path("a").exists()
        ran = command("decompress", gru.path, "a.crnn", "--salvage", "--force")
        assert (
            ran.code == 3
            and "block 1 (12 bytes from byte 0)" in ran.err
            and "besides was written" in ran.err
        )
        assert Path("a").read_bytes() == b"".join(whole)
        Path("a").unlink()


@pytest.mark.parametrize("order", [0, 4])
def test_a_damaged_header_keeps_nothing_from_being_salvaged(
    command: Command, model: Model, gru: TrainedRun, order: int
) -> None:
    whole = compress_text(model, TEXT * 9, with_model=True, order=order)
    table = len(whole) - len(model.compress(TEXT * 9, order=order)) + 46
    for at in (0, 7, 8, 40, len(whole) // 2, table - 1, table + 1):
        damage = {7: 3, 40: 33}.get(at, 1)  # the other version; another order
        Path("a.crnn").write_bytes(whole[:at] + bytes([whole[at] ^ damage]) + whole[at + 1 :])
        ran = command("decompress", gru.path, "a.crnn", "--salvage", "--force")
        assert ran.code == 3 and "1 part of a.crnn could not be restored" in ran.err, ran.err
        assert Path("a").read_bytes() == (TEXT * 9 if at < table else b"")
        assert ("the table before block 1 has changed, and nothing after it" in ran.err) == (
            at > table
        )
    Path("a.crnn").write_bytes(b"other" + whole[5:])
    assert (
        "was not written by"
        in command("decompress", gru.path, "a.crnn", "--salvage", "--force").err
    )


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the faulty disk needs /proc")
@pytest.mark.parametrize("fault", ["killed", "full"])
def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, model: Model, fault: str) -> None:
    folder, compressed = tmp_path / "folder", model.compress(TEXT)
    folder.mkdir()
    target, coder = folder / "a", coder_of(model)[0]

    def save(at: int | None = None) -> int:
        target.write_bytes(b"old")
        file = io.BytesIO(compressed)
        container.read_header(file, "a.crnn")
        source = commands._Source("-", file)
        with faulty_disk(folder, at, raised) as disk:
            parts = container.decompress(coder, source, "a.crnn")
            commands._write(parts, str(target), source, restores=True, as_json=False, quiet=True)
        return len(disk.seen)

    raised: Callable[[], BaseException] = (
        Killed if fault == "killed" else lambda: OSError(errno.ENOSPC, "No space")
    )
    num_operations = save()
    assert target.read_bytes() == TEXT and num_operations >= 4
    for at in range(1, num_operations + 1):
        try:
            save(at)
        except (Killed, CharRNNError):
            assert target.read_bytes() in (b"old", TEXT)
        if fault == "full":
            assert target.read_bytes() in (b"old", TEXT)
        for left in folder.glob(".*"):
            assert fault == "killed"
            left.unlink()


def ended_by(number: signal.Signals, run: Path, folder: Path, num_bytes: int) -> int:
    """End a process that decompresses a stream after so many bytes of it; return its exit code."""
    compressed = (folder / "in.crnn").read_bytes()
    call = [sys.executable, "-m", "charrnn", "decompress", str(run), "-", "-o", "out"]
    process = subprocess.Popen(
        call, stdin=subprocess.PIPE, cwd=folder, env=clean_environment(), stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(compressed[:num_bytes])
    process.stdin.flush()
    for left in folder.glob(".out.tmp-*"):
        left.unlink()
    while not [*folder.glob(".out.tmp-*")] and process.poll() is None:
        threading.Event().wait(0.01)
    process.send_signal(number)
    process.stdin.close()
    process.stderr.read()
    return process.wait()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interrupted_process_leaves_the_old_file(
    tmp_path: Path, model: Model, gru: TrainedRun, number: signal.Signals, code: int
) -> None:
    data = model.compress(TEXT)
    (tmp_path / "in.crnn").write_bytes(data)
    assert ended_by(number, gru.path, tmp_path, len(data) - 3) == code
    left = {path.name for path in tmp_path.iterdir()} - {"in.crnn"}
    assert (
        not left if number == signal.SIGINT else all(name.startswith(".out.tmp-") for name in left)
    )


@pytest.mark.thorough
def test_fifty_kills_leave_no_half_file(tmp_path: Path, model: Model, gru: TrainedRun) -> None:
    data = model.compress(TEXT * 20)
    (tmp_path / "in.crnn").write_bytes(data)
    for kill in range(50):
        ended_by(signal.SIGKILL, gru.path, tmp_path, 60 + kill * (len(data) - 60) // 50)
        assert not (tmp_path / "out").exists()

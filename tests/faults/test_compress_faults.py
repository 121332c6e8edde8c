"""compress and decompress: what they refuse, and that a file is the old one or a whole new one
whatever happens."""

import contextlib
import errno
import io
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import clean_environment
from faulty_disk import Killed, faulty_disk

import charrnn
from charrnn.errors import CharRNNError, CheckpointError, DataError
from charrnn.formats.crnn import command as commands
from charrnn.formats.crnn import container
from charrnn.formats.crnn.command import coder_of

TEXT = b'tarn "molu zib"\r\n\xff\0 ' + "语 tarn".encode()


@pytest.fixture(scope="session")
def model(gru):
    return charrnn.load(gru.path)


def test_files_become_compressed_ones_and_come_back(command, gru):
    for name, data in {"a.txt": TEXT, "b": b""}.items():
        Path(name).write_bytes(data)
    ran = command("compress", gru.path, "a.txt", "b")
    assert (ran.code, ran.out) == (0, "a.txt.crnn\nb.crnn\n"), ran.err
    assert f"{len(TEXT)} bytes to {Path('a.txt.crnn').stat().st_size}" in ran.err
    assert "exists" in command("decompress", gru.path, "a.txt.crnn").err
    for name in ("a.txt", "b"):
        Path(name).unlink()
    assert command("decompress", gru.path, "a.txt.crnn", "b.crnn").code == 0
    assert (Path("a.txt").read_bytes(), Path("b").read_bytes()) == (TEXT, b"")


def test_files_keep_their_permissions(command, gru):
    Path("a").write_bytes(TEXT)
    Path("a").chmod(0o600)
    command("compress", gru.path, "a")
    Path("a").unlink()
    command("decompress", gru.path, "a.crnn")
    assert Path("a.crnn").stat().st_mode & 0o077 == 0
    assert Path("a").stat().st_mode & 0o077 == 0


def test_the_sizes_are_printed_as_json(command, gru):
    Path("a").write_bytes(TEXT)
    command("compress", gru.path, "a")
    num_coded = Path("a.crnn").stat().st_size
    ran = command("decompress", gru.path, "a.crnn", "--force", "--json")
    printed = json.loads(ran.out)
    assert printed.pop("seconds") >= 0
    assert printed.pop("chars_per_second") > 0
    num_chars = len(TEXT.decode("utf-8", "replace"))
    assert printed.pop("bpc") == 8 * num_coded / num_chars
    sizes = {"bytes_in": num_coded, "bytes_out": len(TEXT)}
    assert printed == {"file": "a.crnn", "output": "a", **sizes}


def test_a_file_that_includes_its_model_needs_no_run(command, gru):
    Path("a").write_bytes(TEXT)
    compressed = command("compress", gru.path, "a", "--out", "whole.crnn", "--with-model", "-q")
    assert compressed.err == ""
    assert command("decompress", "whole.crnn", "--out", "again").code == 0
    assert Path("again").read_bytes() == TEXT
    assert command("decompress", gru.path, "whole.crnn", "-o", "again", "--force").code == 0


def test_a_file_without_its_model_needs_a_run(command, gru):
    Path("a").write_bytes(TEXT)
    command("compress", gru.path, "a")
    assert command("decompress", "a.crnn", "-o", "none").code == 4
    assert not Path("none").exists()


def test_of_several_files_those_are_converted_that_can_be(command, gru):
    Path("b").write_bytes(b"")
    ran = command("compress", gru.path, "missing", "b", "away", "--with-model")
    assert (ran.code, ran.out, ran.err.count("No such file")) == (3, "b.crnn\n", 2), ran.err
    assert ran.err.splitlines()[-1] == "error: 2 of 3 files failed."


def test_a_damaged_checkpoint_is_named_even_if_quiet(command, gru):
    Path("b").write_bytes(TEXT)
    shutil.copytree(gru.path, "copy")
    for weights in Path("copy").glob("step-*[1-9]/model.safetensors"):
        weights.write_bytes(b"cut")
    assert "model.safetensors is damaged" in command("compress", "copy", "b", "--quiet").err


def test_no_share_is_printed_of_a_file_more_than_ten_times_as_large(command, gru):
    Path("b").write_bytes(TEXT)
    assert "%" not in command("compress", gru.path, "b", "--with-model").err


def test_no_file_that_is_read_is_replaced(command, gru):
    Path("two").write_bytes(TEXT)
    Path("two.crnn").write_bytes(b"text")
    ran = command("compress", gru.path, "two", "two.crnn", "--force")
    assert ran.code == 2
    assert "two.crnn is a file that is read" in ran.err
    assert "two is named twice" in command("compress", gru.path, "two", "two", "--force").err
    assert Path("two.crnn").read_bytes() == b"text"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there is no /dev/null")
def test_a_device_is_no_file(command, gru):
    Path("two").write_bytes(TEXT)
    assert command("compress", gru.path, "two", "-o", "/dev/null").code == 0


def test_streams_are_read_and_written(gru):
    """In processes, because pytest replaces the streams of this one."""
    script = (
        'p="$1"; shift; "$p" -m charrnn compress "$1" - -o - | "$p" -m charrnn decompress "$1" -'
        " -o -"
    )
    call = ["sh", "-c", script, "sh", sys.executable, str(gru.path)]
    ran = subprocess.run(call, input=TEXT, capture_output=True, env=clean_environment())
    assert ran.stdout == TEXT, ran.stderr


@pytest.mark.parametrize(("at", "problem"), [(7, "version 3"), (-4, "it ends in block 1")])
def test_a_file_of_another_version_or_a_cut_one_is_refused(command, gru, model, at, problem):
    """The texts of the other refusals are in tests/lock."""
    compressed = model.compress(TEXT)
    files = {7: compressed[:7] + b"\3" + compressed[8:], -4: compressed[:-4]}
    Path("a.crnn").write_bytes(files[at])
    ran = command("decompress", gru.path, "a.crnn")
    assert (ran.code, ran.out) == (3, "")
    assert problem in ran.err
    assert [path.name for path in Path().glob("a*")] == ["a.crnn"]


def test_a_name_with_a_null_character_cannot_be_read(command, gru):
    refused = command("compress", gru.path, "a\0", "-o", "c")
    assert refused.code == 3
    assert refused.err.startswith("error: cannot read a")


def test_no_terminal_is_filled_with_bytes(command, gru, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(commands.sys, "stdout", sys.stdout)
    ran = command("compress", gru.path, "-", stdin=b"a")
    assert ran.code == 2
    assert "fill the terminal" in ran.err


def test_the_first_damaged_block_is_named(model, monkeypatch):
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 10)
    rows = [b"tarn molu zi", b"zib tarn mol", b"molu molu ta"]
    data = bytearray(model.compress(b"".join(rows)))
    coded = coder_of(model)[0].encode(rows)[1]
    data[data.index(coded)] ^= 1
    restored = []
    with pytest.raises(DataError, match=r"block 2 \(12 bytes from byte 12\) is not the text"):
        source = io.BytesIO(data)
        container.read_header(source, "a")
        for text in container.decompress(coder_of(model)[0], source, "a"):
            restored.append(text)
    assert restored == rows[:1]


def assert_refused(model, damaged):
    coder, digest = coder_of(model)
    for data in damaged:
        source = io.BytesIO(data)
        with pytest.raises((DataError, CheckpointError)):
            header = container.read_header(source, "a")
            container.check_model(header, digest, file="a", run="it")
            list(container.decompress(coder, source, "a"))


def test_every_cut_and_every_flipped_bit_is_an_error(model):
    whole = model.compress(TEXT[:6])
    damaged = [whole[:end] for end in range(len(whole))] + [whole + b"\0", whole + whole]
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    assert_refused(model, damaged)


@pytest.mark.thorough
def test_two_thousand_random_damages_are_errors(model, monkeypatch):
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 20)
    whole = model.compress(TEXT * 3)
    generator = random.Random(5)
    damaged = []
    while len(damaged) < 2_000:
        data = bytearray(whole)
        at = generator.randrange(len(whole))
        data[at : at + generator.randrange(9)] = generator.randbytes(generator.randrange(9))
        if data != whole:
            damaged.append(bytes(data))
    assert_refused(model, damaged)


FAULTS = {
    "killed": Killed,
    "full": lambda: OSError(errno.ENOSPC, "No space"),
}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the faulty disk needs /proc")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_is_the_old_one_or_the_new_one(tmp_path, model, fault):
    folder = tmp_path / "folder"
    folder.mkdir()
    target = folder / "a"
    compressed = model.compress(TEXT)
    coder, _ = coder_of(model)

    def save(at=None):
        target.write_bytes(b"old")
        file = io.BytesIO(compressed)
        container.read_header(file, "a.crnn")
        with faulty_disk(folder, at, FAULTS[fault]) as disk:
            parts = container.decompress(coder, file, "a.crnn")
            commands._write(parts, str(target), commands._Source("-", file))
        return len(disk.seen)

    num_operations = save()
    assert target.read_bytes() == TEXT
    assert num_operations >= 4
    for at in range(1, num_operations + 1):
        with contextlib.suppress(Killed, CharRNNError):
            save(at)
        assert target.read_bytes() in (b"old", TEXT)
        for left in folder.glob(".*"):
            assert fault == "killed", "an error leaves no temporary file"
            left.unlink()


def ended_by(number, run, folder, num_bytes):
    """End a process that decompresses a stream after so many bytes of it; return its exit code."""
    compressed = (folder / "in.crnn").read_bytes()
    call = [sys.executable, "-m", "charrnn", "decompress", str(run), "-", "-o", "out"]
    process = subprocess.Popen(
        call, stdin=subprocess.PIPE, cwd=folder, env=clean_environment(), stderr=subprocess.PIPE
    )
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


def test_an_interrupted_process_leaves_nothing(tmp_path, model, gru):
    data = model.compress(TEXT)
    (tmp_path / "in.crnn").write_bytes(data)
    assert ended_by(signal.SIGINT, gru.path, tmp_path, len(data) - 3) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["in.crnn"]

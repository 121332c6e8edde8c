"""Compiled code on disk: found, verified, removed when damaged, and made again."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from charrnn import code_cache  # noqa: E402
from charrnn.code_cache import HEADER, KeptFunction  # noqa: E402

ARGUMENTS = (np.zeros(2), 1)


def add(numbers: Any, number: Any) -> None:
    for index in range(len(numbers)):
        numbers[index] += number


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "package" / "module.py"
    path.parent.mkdir()
    path.write_text("first version")
    return path


@pytest.fixture
def make(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., KeptFunction]]:
    """A function as a new process has it: not compiled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))

    def fresh(target: str = "this processor") -> KeptFunction:
        return KeptFunction(add, [source], [target])

    yield fresh


class Warnings(list[str]):
    """Messages, in the order in which they came."""

    def __call__(self, message: str) -> None:
        self.append(message)


def compiled_file(function: KeptFunction) -> Path:
    """Compile without a warning, and return the file that keeps the code."""
    warnings = Warnings()
    function.compile(ARGUMENTS, warnings)
    assert not warnings
    return function.path(ARGUMENTS)


def check_works(function: KeptFunction) -> None:
    numbers = np.arange(3.0)
    function(numbers, 2)
    assert numbers.tolist() == [2, 3, 4]


def test_code_is_kept_beside_its_source_and_found_by_another_process(
    make: Callable[..., KeptFunction], source: Path
) -> None:
    warnings = Warnings()
    assert not make().find(ARGUMENTS, warnings)
    path = compiled_file(make())
    assert path.parent == source.parent / "__pycache__" and path.stat().st_mode & 0o444 == 0o444
    later = make()
    assert later.find(ARGUMENTS, warnings) and later.is_ready(ARGUMENTS) and not warnings
    check_works(later)
    assert [found.name for found in path.parent.iterdir()] == [path.name], "no temporary file is left"


def test_code_of_another_source_processor_or_type_is_not_found(make: Callable[..., KeptFunction], source: Path) -> None:
    path = compiled_file(make())
    warnings = Warnings()
    assert not make("another processor").find(ARGUMENTS, warnings)
    assert not make().find((np.zeros(2, np.float32), 1), warnings)
    source.write_text("second version")
    assert not make().find(ARGUMENTS, warnings) and not warnings
    assert compiled_file(make()) != path and not path.exists(), "code of the first version is removed"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "one bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "header": lambda data: b"x" + data[1:],
    "no code": lambda data: data[: len(HEADER)],
    "longer": lambda data: data + b"x",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_code_is_never_used_and_is_made_again(
    make: Callable[..., KeptFunction], damage: Callable[[bytes], bytes]
) -> None:
    path = compiled_file(make())
    path.write_bytes(damage(path.read_bytes()))
    function, warnings = make(), Warnings()
    assert not function.find(ARGUMENTS, warnings)
    assert len(warnings) == 1 and f"{path} is damaged" in warnings[0] and "removed" in warnings[0]
    assert not path.exists()
    assert not function.find(ARGUMENTS, warnings) and len(warnings) == 1, "the warning comes once"
    function.load(ARGUMENTS, warnings)
    check_works(function)
    written = path.stat().st_mtime_ns
    make().load(ARGUMENTS, warnings)
    assert len(warnings) == 1 and path.stat().st_mtime_ns == written, "the other process compiles nothing"


@pytest.mark.skipif(os.name == "nt", reason="Windows shows no owner")
@pytest.mark.parametrize("others", ["own the file", "may write the file"])
def test_code_that_somebody_else_may_have_written_is_not_used(
    make: Callable[..., KeptFunction], monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    path = compiled_file(make())
    before = path.read_bytes()
    if others == "may write the file":
        path.chmod(0o666)
    elif os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    warnings = Warnings()
    function = make()
    monkeypatch.setattr(code_cache.pickle, "loads", pytest.fail)
    assert not function.find(ARGUMENTS, warnings)
    assert len(warnings) == 1 and str(path) in warnings[0] and "another user" in warnings[0]
    assert path.read_bytes() == before
    function.compile(ARGUMENTS, warnings)
    check_works(function)
    monkeypatch.undo()
    assert make().find(ARGUMENTS, warnings) and len(warnings) == 1


def test_a_full_disk_is_noticed_before_compiling_and_after(
    make: Callable[..., KeptFunction], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def write_synced(path: Path, data: bytes) -> None:
        path.touch()
        raise full

    function, warnings = make(), Warnings()
    assert function.cannot_keep() == ""
    monkeypatch.setattr(code_cache.tempfile, "TemporaryFile", Mock(side_effect=full))
    monkeypatch.setattr(code_cache, "write_synced", write_synced)
    assert "No space left on device" in function.cannot_keep()
    function.compile(ARGUMENTS, warnings)
    check_works(function)
    assert (
        len(warnings) == 1 and "No space left on device" in warnings[0] and str(function.path(ARGUMENTS)) in warnings[0]
    )
    assert list(function.path(ARGUMENTS).parent.iterdir()) == [], "no part of a file is left"


def test_the_user_s_folder_serves_where_the_package_cannot_be_written(
    make: Callable[..., KeptFunction], source: Path, tmp_path: Path
) -> None:
    (source.parent / "__pycache__").touch()
    function = make()
    assert function.cannot_keep() == ""
    function.compile(ARGUMENTS, Warnings())
    assert function.path(ARGUMENTS).parent == tmp_path / "user" / "charrnn"
    assert make().find(ARGUMENTS, Warnings())


def test_without_a_compiler_python_runs_the_function(
    make: Callable[..., KeptFunction], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    function = make()
    function.load(ARGUMENTS, pytest.fail)
    check_works(function)
    assert list(source.parent.iterdir()) == [source]

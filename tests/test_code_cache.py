"""Compiled code on disk: found, verified, removed when damaged, and made again."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from charrnn.system import code_cache  # noqa: E402
from charrnn.system.code_cache import KeptFunction, cache_folders  # noqa: E402

ARGUMENTS = (np.zeros(2), 1)
Make = Callable[..., KeptFunction]


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
def make(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """A function as a new process has it: not compiled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return lambda target="this processor": KeptFunction(add, [source], [target])


def compiled_file(function: KeptFunction) -> Path:
    """Compile without a warning, and return the file that keeps the code."""
    function.compile(ARGUMENTS, pytest.fail)
    return function.paths(ARGUMENTS)[0]


def check_works(function: KeptFunction) -> None:
    numbers = np.arange(3.0)
    function(numbers, 2)
    assert numbers.tolist() == [2, 3, 4]


def test_code_is_kept_beside_its_source_and_found_by_another_process(
    make: Make, source: Path
) -> None:
    assert not make().find(ARGUMENTS)
    path = compiled_file(make())
    assert path.parent == source.parent / "__pycache__" and path.stat().st_mode & 0o444 == 0o444
    later = make()
    assert later.find(ARGUMENTS)
    check_works(later)
    assert [found.name for found in path.parent.iterdir()] == [path.name], (
        "no temporary file is left"
    )
    assert not make("another processor").find(ARGUMENTS) and not make().find(
        (np.zeros(2, np.float32), 1)
    )
    source.write_text("second version")
    assert not make().find(ARGUMENTS)
    assert compiled_file(make()) == path and make().find(ARGUMENTS), (
        "it takes the place of the first version"
    )


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "one bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "header": lambda data: b"x" + data[1:],
    "no code": lambda data: data[:32],
    "longer": lambda data: data + b"x",
}


def test_damaged_code_is_never_used_and_is_made_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = compiled_file(make())
    whole = path.read_bytes()
    for name, damage in DAMAGES.items():
        path.write_bytes(damage(whole))
        with monkeypatch.context() as patched:
            patched.setattr(code_cache.pickle, "loads", pytest.fail)
            assert not make().find(ARGUMENTS), name
    function = make()
    function.load(ARGUMENTS, pytest.fail)
    check_works(function)
    assert make().find(ARGUMENTS)
    path.unlink()
    function.compile(ARGUMENTS, pytest.fail)
    assert not path.exists(), "numba has compiled it already"


@pytest.mark.skipif(os.name == "nt", reason="Windows shows no owner")
@pytest.mark.parametrize("others", ["own the file", "may write the file"])
def test_code_that_others_may_write_is_not_used(
    make: Make, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    path = compiled_file(make())
    if others == "may write the file":
        path.chmod(0o666)
    else:
        status = path.stat()
        theirs = os.stat_result((*status[:4], status.st_uid + 1, *status[5:]))
        monkeypatch.setattr(os, "fstat", lambda _: theirs)
    function = make()
    with monkeypatch.context() as patched:
        patched.setattr(code_cache.pickle, "loads", pytest.fail)
        assert not function.find(ARGUMENTS)
    function.compile(ARGUMENTS, pytest.fail)
    check_works(function)
    monkeypatch.undo()
    assert make().find(ARGUMENTS)


def test_a_full_disk_leaves_no_file_and_one_warning(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_synced(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    function, warnings = make(), list[str]()
    monkeypatch.setattr(code_cache, "write_synced", write_synced)
    function.compile(ARGUMENTS, warnings.append)
    check_works(function)
    path = function.paths(ARGUMENTS)[0]
    (warning,) = warnings
    assert f"{path} cannot be written (No space left on device)" in warning
    assert list(path.parent.iterdir()) == [], "no part of a file is left"


def test_a_user_s_folder_serves_where_the_package_cannot_be_written(
    make: Make, source: Path, tmp_path: Path
) -> None:
    (source.parent / "__pycache__").touch()
    function = make()
    function.compile(ARGUMENTS, pytest.fail)
    assert function.paths(ARGUMENTS)[1].parent == tmp_path / "user" / "charrnn" and make().find(
        ARGUMENTS
    )


def test_without_a_compiler_python_runs_a_function(
    make: Make, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    function = make()
    function.load(ARGUMENTS, pytest.fail)
    check_works(function)
    assert list(source.parent.iterdir()) == [source]


def test_code_that_cannot_be_read_or_loaded_counts_as_missing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = compiled_file(make())
    with monkeypatch.context() as patched:
        patched.setattr(code_cache.os, "fstat", Mock(side_effect=OSError))
        assert not make().find(ARGUMENTS)
    path.write_bytes(make()._digest(b"of another numba") + b"of another numba")
    assert not make().find(ARGUMENTS)


def test_the_folders_are_those_of_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Path("package", "__pycache__")
    assert cache_folders(Path("package/module.py")) == [
        beside,
        Path("~/.cache/charrnn").expanduser(),
    ]
    monkeypatch.setattr(Path, "expanduser", Mock(side_effect=RuntimeError("no home")))
    assert cache_folders(Path("package/module.py")) == [beside]
    monkeypatch.setenv("NUMBA_CACHE_DIR", "chosen")
    assert cache_folders(Path("package/module.py")) == [Path("chosen", "charrnn")]

"""Machine code on disk: found by another process, made again when damaged, and no error without a
folder."""

import os
import sys

import numpy as np
import pytest
from built_runs import build_chain
from known_weights import CYCLE, chain_text

numba = pytest.importorskip("numba")

from charrnn.system.compiling import CompiledLoop  # noqa: E402
from charrnn.system.progress import Progress, using  # noqa: E402

ARGUMENTS = (np.zeros(2), 1)


@pytest.fixture
def source(tmp_path):
    """A file with a constant that numba compiles into a loop of another file."""
    path = tmp_path / "constants.py"
    path.write_text("first version")
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where numba keeps machine code."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make(source, folder):
    """Make the loop as a new process has it: not compiled."""

    def make():
        def add(numbers, number):
            for index in range(len(numbers)):
                numbers[index] += number

        return CompiledLoop(add, [source])

    return make


def load_or_compile(loop):
    """Prepare a loop and return the warnings."""
    warnings = list[str]()
    progress = Progress()
    progress.warn = warnings.append
    with using(progress):
        if not loop.load(ARGUMENTS):
            loop.compile(ARGUMENTS)
    return warnings


def check_works(loop):
    numbers = np.arange(3.0)
    loop(numbers, 2)
    assert numbers.tolist() == [2, 3, 4]


def test_another_process_finds_the_code(make):
    assert load_or_compile(make()) == []
    later = make()
    assert later.load(ARGUMENTS)
    check_works(later)


def test_code_of_other_types_or_sources_is_not_used(make, source):
    load_or_compile(make())
    assert not make().load((np.zeros(2, np.float32), 1))
    source.write_text("second version")
    assert not make().load(ARGUMENTS)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("length", [0, 100])
def test_damaged_code_is_made_again(make, folder, suffix, length):
    load_or_compile(make())
    (path,) = folder.rglob(f"*{suffix}")
    path.write_bytes(path.read_bytes()[:length])
    loop = make()
    with pytest.warns(RuntimeWarning, match="Compiled code is damaged"):
        assert not loop.load(ARGUMENTS)
    loop.compile(ARGUMENTS)
    check_works(loop)
    assert make().load(ARGUMENTS)


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
    """Make a loop whose source file is in a folder without room for machine code, in an empty
    current folder, without a user's folder."""
    source = tmp_path / "package" / "loop.py"
    source.parent.mkdir()
    source.write_text("def add(numbers, number):\n    numbers += number\n")
    (source.parent / "__pycache__").write_text("a file, so it cannot be a folder")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("CHARRNN_CACHE", "NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)

    def make():
        # numba keeps all global names of a function without a module.
        names = {"__name__": __name__}
        exec(compile(source.read_text(), str(source), "exec"), names)
        return CompiledLoop(names["add"])

    return make


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"XDG_CACHE_HOME": "cache"},
        {"CHARRNN_CACHE": "cache"},
        {"CHARRNN_CACHE": "~/cache"},
        {"NUMBA_CACHE_DIR": "cache"},
        {"NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator"},
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the variables are those of Linux")
def test_the_current_folder_never_has_machine_code(unwritable, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    loop = unwritable()
    (warning,) = load_or_compile(loop)
    assert "NUMBA_CACHE_DIR to an absolute folder" in warning
    check_works(loop)
    assert os.listdir() == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="of POSIX")
@pytest.mark.parametrize("fault", ["owner", 0o720, 0o702])
def test_machine_code_that_another_user_can_write_is_not_loaded(make, folder, monkeypatch, fault):
    load_or_compile(make())
    if fault != "owner":
        folder.chmod(fault)
    else:
        user = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert not make().load(ARGUMENTS)


def test_numba_takes_no_settings_from_the_current_folder(process, tmp_path):
    (tmp_path / "text.txt").write_text(chain_text(3_000))
    run = build_chain(tmp_path / "run", CYCLE, corpus=tmp_path / "text.txt")
    written = tmp_path / "trace.json"
    (tmp_path / ".numba_config.yaml").write_text(f"CHROME_TRACE: {written}\n")
    ran = process("-m", "charrnn", "sample", run, "--length", "3000")
    assert ran.returncode == 2
    assert b".numba_config.yaml" in ran.stderr
    assert not written.exists()

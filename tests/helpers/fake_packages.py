"""Packages that seem to be installed, for the tests of plugins."""

import importlib
import sys
from pathlib import Path

from charrnn.hooks import manager


def install(folder: Path, package: str, entry_points: str, **modules: str) -> Path:
    """Write the metadata and the modules of a package, version 1.0; return the folder, for
    PYTHONPATH or sys.path."""
    metadata = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8"
    )
    (metadata / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    importlib.invalidate_caches()  # it may have listed the folder within the resolution of the clock
    manager.forget()
    return folder


def install_names(
    folder: Path, package: str, hook: str, places: dict[str, str], **modules: str
) -> Path:
    """Install a package that offers places by name from one hook, in a module of its own."""
    module = f"{package.replace('-', '_')}_hooks"
    code = (
        f"from charrnn.hooks import hookimpl\n\n\n@hookimpl\ndef {hook}():\n    return {places!r}\n"
    )
    entry_points = f"[{manager.GROUP}]\n{package} = {module}\n"
    sys.modules.pop(module, None)  # of another test
    return install(folder, package, entry_points, **{module: code}, **modules)

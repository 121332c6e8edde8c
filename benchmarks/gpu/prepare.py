"""Install what gpu_check.py needs on a bare machine, or say what is there; imports no other package."""

import importlib.metadata
import subprocess
import sys

PACKAGES = {
    "torch": "2.13",
    "numpy": "2.1",
    "typer": "0.29",
    "rich": "15.0",
    "tqdm": "4.66",
    "pyyaml": "6.0.2",
    "safetensors": "0.5",
    "numba": "0.61",
    "platformdirs": "4.3",
    "filelock": "3.30",
}
"""What the script imports, and the lowest version that charrnn asks for (pyproject.toml)."""
SECONDS = 150
"""How long pip may take: torch with CUDA has 2 GB and more."""


def version_of(package: str) -> tuple[int, ...]:
    """Return the first numbers of a package's version; nothing if it is missing."""
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return numbers_of(version)


def numbers_of(version: str) -> tuple[int, ...]:
    """Return the numbers at the start of a version: 2.13.0+cu130 is (2, 13, 0)."""
    numbers = []
    for part in version.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def wanted() -> list[str]:
    """List the packages that are missing or older than charrnn asks for, as pip takes them."""
    return [
        f"{package}>={least}"
        for package, least in PACKAGES.items()
        if version_of(package) < numbers_of(least)
    ]


def install() -> list[str]:
    """Install the packages that are missing or too old, each on its own: a machine without a
    network may have most of them. Return what went wrong."""
    problems = []
    for requirement in wanted():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "1"]
        try:
            subprocess.run([*command, "--timeout", "10", requirement], timeout=SECONDS, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            problems.append(f"{requirement} could not be installed: {type(error).__name__}")
    return problems


def missing() -> list[str]:
    """List the packages that are not there at all."""
    return [package for package in PACKAGES if not version_of(package)]

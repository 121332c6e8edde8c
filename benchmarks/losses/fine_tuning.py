"""Fine-tune a model of molecules on 200 sulfonamides, and compare it with two others.

`split` reads the catalogue's molecules and writes three files of different molecules that RDKit
accepts: 200 sulfonamides to fine-tune on, 500 sulfonamides to measure the loss on, and all others
to learn first, sulfonamides among them. `measure` reads files of samples, one molecule a line, and
prints a row for each: the share that is valid, the share of sulfonamides, and how many different
sulfonamides are in neither training text. It needs RDKit:

    pip install rdkit
    python benchmarks/losses/fine_tuning.py split corpora/molecules.csv
    charrnn train base.smi --minutes 4 --out base
    charrnn train sulfonamides.smi --init-from base --minutes 1 --out tuned
    charrnn train sulfonamides.smi --minutes 1 --out alone
    charrnn evaluate base tuned alone --text sulfonamides-test.smi
    charrnn sample tuned --count 2000 --seed 1 > tuned.txt
    python benchmarks/losses/fine_tuning.py measure tuned.txt
"""

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KIND = "S(=O)(=O)N"
"""SMARTS of a sulfonamide."""
NUM_TUNED, NUM_TESTED = 200, 500
"""Sulfonamides to fine-tune on, and to measure the loss on."""
BASE, TUNED, TEST = Path("base.smi"), Path("sulfonamides.smi"), Path("sulfonamides-test.smi")
"""The files that `split` writes."""


def parsed(smiles: str) -> Any:
    """Return the molecule of a SMILES string, None if it is not valid."""
    from rdkit import Chem, RDLogger

    RDLogger.DisableLog("rdApp.*")
    return Chem.MolFromSmiles(smiles)


def is_of_kind(molecule: Any) -> bool:
    """Return whether a molecule is a sulfonamide."""
    from rdkit import Chem

    return bool(molecule.HasSubstructMatch(Chem.MolFromSmarts(KIND)))


def canonical(molecules: Sequence[Any]) -> set[str]:
    """Return the canonical SMILES of molecules."""
    from rdkit import Chem

    return {Chem.MolToSmiles(molecule) for molecule in molecules}


def molecules_of(path: Path) -> list[Any]:
    """Read the valid molecules of a file."""
    molecules = map(parsed, path.read_text("ascii").split())
    return [molecule for molecule in molecules if molecule is not None]


def split(table: Path) -> None:
    """Divide the molecules of the column `smiles` of a table, and write the files."""
    with table.open(encoding="ascii", newline="") as file:
        texts = list(dict.fromkeys(row["smiles"] for row in csv.DictReader(file)))
    kind = []
    others = []
    for smiles in texts:
        molecule = parsed(smiles)
        if molecule is not None:
            (kind if is_of_kind(molecule) else others).append(smiles)

    random.Random(0).shuffle(kind)
    random.Random(0).shuffle(others)
    base = others + kind[NUM_TUNED + NUM_TESTED :]
    random.Random(1).shuffle(base)
    for path, written in (
        (TUNED, kind[:NUM_TUNED]),
        (TEST, kind[NUM_TUNED : NUM_TUNED + NUM_TESTED]),
        (BASE, base),
    ):
        path.write_text("".join(f"{smiles}\n" for smiles in written), "ascii")
        print(f"{path}: {len(written):,} molecules")


def measure(samples: Sequence[Path]) -> None:
    """Print the shares of each file of samples."""
    known = canonical(molecules_of(BASE)) | canonical(molecules_of(TUNED))
    print("| samples | valid | sulfonamides among the valid | different, in neither text |")
    print("| --- | --- | --- | --- |")
    for path in samples:
        valid = molecules_of(path)
        kind = [molecule for molecule in valid if is_of_kind(molecule)]
        share = len(valid) / len(path.read_text("ascii").split("\n")[:-1])
        new = canonical(kind) - known
        print(f"| {path} | {share:.3f} | {len(kind) / max(1, len(valid)):.3f} | {len(new)} |")


def main() -> None:
    """Split the molecules, or measure samples."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("split", "measure"))
    parser.add_argument("paths", type=Path, nargs="+", help="the table, or files of samples")
    arguments = parser.parse_args()
    if arguments.action == "split":
        split(arguments.paths[0])
    else:
        measure(arguments.paths)


if __name__ == "__main__":
    main()

"""Fails when generated code or text is not what its generator writes; `make generate` repairs it."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from scripts import generate_docs
from scripts.generate_sync import existing_files, generated_files
from scripts.source_files import ROOT


def stale_files(root: Path = ROOT) -> list[str]:
    """A difference for each file below _sync that is missing, left over or edited."""
    return _differences(generated_files(root), existing_files(root))


def stale_documents(root: Path = ROOT) -> list[str]:
    """A difference for each guide that does not repeat what the code says."""
    return _differences(generate_docs.generated(root), generate_docs.existing(root))


def _differences(made: dict[Path, str], existing: dict[Path, str]) -> list[str]:
    found = []
    for path in sorted(made.keys() | existing.keys()):
        if made.get(path) != existing.get(path):
            before, after = existing.get(path, "").splitlines(), made.get(path, "").splitlines()
            found.append(
                "\n".join(difflib.unified_diff(before, after, f"{path} (now)", f"{path} (generated)", lineterm=""))
            )
    return found


def main() -> int:
    found = stale_files() + stale_documents()
    for difference in found:
        print(difference)
    if found:
        print("Run `make generate`; what is made is not edited, but what it is made from.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

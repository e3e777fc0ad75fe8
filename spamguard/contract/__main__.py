"""How are the contract's files renewed? `python -m spamguard.contract docs/contract`, which `make contract` calls."""

import sys
from pathlib import Path

from spamguard.contract.files import contract_files


def main(folder: Path) -> None:
    """Write every generated file, and remove generated ones that nothing makes any more."""
    files = contract_files()
    for kind in ("*.json", "examples/*.json"):
        for path in folder.glob(kind):
            if path.relative_to(folder).as_posix() not in files:
                path.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(files)} files in {folder}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/contract"))

"""What must not travel with a store: the key of all its hashes, and which case came from where."""

import csv
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from mim3d.errors import StoreError

KEY_BYTES = 32


class Origin(NamedTuple):
    """A row of sources.csv."""

    case: str
    """Name of the case; for a rejected scan its key."""
    image: str
    label: str
    patient: str
    """Identifier of the patient, empty if unknown."""
    files: str
    """Hash of sizes and times of the files."""


@dataclass(frozen=True)
class Private:
    """`<STORE>.private`: readable by its owner only."""

    path: Path
    key: bytes

    def hash(self, kind: str, identifier: str) -> str:
        """16 hexadecimal digits that only the holder of the key can link to `identifier`."""
        message = f"{kind}\0{identifier}".encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:16]

    def origins(self) -> dict[str, Origin]:
        """Where each case, or rejected scan, came from."""
        file = self.path / "sources.csv"
        if not file.exists():
            return {}
        with file.open(newline="") as lines:
            return {row["case"]: Origin(**row) for row in csv.DictReader(lines)}

    def record(self, origins: Iterable[Origin]) -> None:
        """Add rows to sources.csv; newer ones win."""
        known = {**self.origins(), **{origin.case: origin for origin in origins}}
        file = self.path / "sources.csv"
        unfinished = file.with_name(f".sources-{os.getpid()}.csv")
        with _owner_only(unfinished, "w") as out:
            writer = csv.writer(out)
            writer.writerow(Origin._fields)
            writer.writerows(known[case] for case in sorted(known))
        os.replace(unfinished, file)


def open_private(store: Path) -> Private:
    """The private folder of a store, made with a new random key when there is none.

    Raises:
        StoreError: If its key is damaged.
    """
    path = store.with_name(store.name + ".private")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = path / "key"
    if not file.exists():
        unfinished = path / f".key-{os.getpid()}"
        with _owner_only(unfinished, "wb") as out:
            out.write(secrets.token_bytes(KEY_BYTES))
        os.replace(unfinished, file)
    key = file.read_bytes()
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"{path.name}/key: {len(key)} bytes, {KEY_BYTES} are needed; restore the key of this store, or "
            "prepare into a new folder"
        )
    return Private(path, key)


def _owner_only(path: Path, mode: str) -> IO[Any]:
    """Open a new file that nobody else may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), mode)

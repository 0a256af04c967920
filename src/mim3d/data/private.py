"""What must not travel with a store: the key of all its hashes, and which case came from where."""

import csv
import hashlib
import hmac
import io
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mim3d.errors import StoreError

KEY_BYTES = 32
REJECTED = "rejected.csv"
"""Which scans were rejected, by their files."""
_ODD = "surrogateescape"
"""How text keeps the bytes of file names that are no UTF-8."""


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
        message = f"{kind}\0{identifier}".encode(errors=_ODD)
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:16]

    def origins(self) -> dict[str, Origin]:
        """Where each case, or rejected scan, came from.

        Raises:
            StoreError: If sources.csv is damaged.
        """
        file = self.path / "sources.csv"
        if not file.exists():
            return {}
        try:
            with file.open(newline="", encoding="utf-8", errors=_ODD) as lines:
                return {row["case"]: Origin(**row) for row in csv.DictReader(lines)}
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise StoreError(
                f"{self.path.name}/sources.csv: not a table of {', '.join(Origin._fields)}; restore it, or "
                "move it away to lose what it tells"
            ) from error

    def record(self, origins: Iterable[Origin]) -> None:
        """Add rows to sources.csv; newer ones win."""
        known = {**self.origins(), **{origin.case: origin for origin in origins}}
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(Origin._fields)
        writer.writerows(known[case] for case in sorted(known))
        _write(self.path / "sources.csv", table.getvalue().encode(errors=_ODD))

    def list_rejected(self, reasons: Mapping[str, str]) -> None:
        """Write rejected.csv: which scans were rejected, and why; none if there are none.

        Args:
            reasons: By key of the scan.
        """
        if not reasons:
            (self.path / REJECTED).unlink(missing_ok=True)
            return
        origins, table = self.origins(), io.StringIO()
        rows = [(origins[key].image if key in origins else "", why, key) for key, why in reasons.items()]
        csv.writer(table).writerows([("image", "reason", "key"), *sorted(rows)])
        _write(self.path / REJECTED, table.getvalue().encode(errors=_ODD))


def open_private(store: Path) -> Private:
    """The private folder of a store, made with a new random key when there is none.

    Raises:
        StoreError: If its key is damaged.
    """
    store = store.resolve()  # a name of its own, even for `.`
    path = store.with_name(store.name + ".private")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = path / "key"
    if not file.exists():
        _write(file, secrets.token_bytes(KEY_BYTES))
    key = file.read_bytes()
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"{path.name}/key: {len(key)} bytes, {KEY_BYTES} are needed; restore the key of this store, or "
            "prepare into a new folder"
        )
    return Private(path, key)


def peek_private(store: Path) -> Private:
    """The private folder of a store as it is; where there is none, none is made, and the key is all zeros."""
    store = store.resolve()
    path = store.with_name(store.name + ".private")
    return open_private(store) if (path / "key").exists() else Private(path, bytes(KEY_BYTES))


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    os.replace(unfinished, path)

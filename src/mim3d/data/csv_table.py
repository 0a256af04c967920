"""CSV tables as people write them: with commas, or with semicolons as spreadsheets do."""

import csv
from pathlib import Path

from mim3d.errors import DataError


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows that are not empty; separated by `;` where the header has no comma.

    Raises:
        DataError: If the file is no CSV in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: not readable as text ({error}); a CSV in UTF-8 is needed") from error
    lines = text.splitlines()
    separator = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator) if any(row)]
    except csv.Error as error:
        raise DataError(f"{path.name}: not readable as a CSV ({error}); mend the file") from error
    return [name.strip() for name in rows[0]] if rows else [], rows[1:]


def named_rows(header: list[str], rows: list[list[str]]) -> list[dict[str, str]]:
    """Rows by column name, without spaces around values."""
    return [dict(zip(header, (value.strip() for value in row), strict=False)) for row in rows]

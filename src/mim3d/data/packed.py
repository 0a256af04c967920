"""Compressed voxels of NRRD and MetaImage: whether the stream is whole, which their readers do not look at.

MetaIO takes damaged voxels for good ones, fewer than the header promises for all, and never comes back from a
stream that is none. Teem takes some damage for voxels too.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mim3d.errors import DataError

ZLIB_OR_GZIP = 47
"""What zlib calls a stream that is one of the two, with the largest window."""
PIECE = 2**20
"""Bytes that are read, and unpacked, at a time."""
BEHIND = 16 * 2**20
"""Bytes that may follow the last voxel."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Where compressed voxels are."""

    file: str
    """Name, relative to the header; empty if they follow the header."""
    offset: int
    """Bytes before them."""
    length: int | None
    """Their bytes, as far as the header says."""


def require_whole(path: Path, packed: Packed, size: int) -> None:
    """Raise unless compressed voxels are whole: `size` bytes of them, and the checksum behind them.

    Raises:
        DataError: If they are not.
    """
    data = path.parent / packed.file if packed.file else path
    unpacked = 0
    try:
        with data.open("rb") as file:
            file.seek(packed.offset)
            for piece in _unpacked(file, packed.length):
                unpacked += piece
                if unpacked > size + BEHIND:
                    break
    except (zlib.error, EOFError) as error:
        raise DataError(
            f"{path.name}: its compressed voxels are damaged or cut off ({error}); a whole file is needed: "
            "copy it again, or leave it out"
        ) from error
    except (OSError, ValueError):
        return  # of voxels that are not there, or whose name cannot be one, the reader tells
    if not size <= unpacked <= size + BEHIND:
        held = f"{unpacked} bytes of them" if unpacked < size else f"more than {size + BEHIND}"
        raise DataError(
            f"{path.name}: its header promises voxels of {size} bytes, but unpacked there are {held}; a "
            "whole file is needed: copy it again, or leave it out"
        )


def _unpacked(file: IO[bytes], length: int | None) -> Iterator[int]:
    """Bytes that come out of a stream, piece by piece, up to its end and its checksum."""
    stream = zlib.decompressobj(ZLIB_OR_GZIP)
    left = length
    while not stream.eof:
        packed = stream.unconsumed_tail
        if not packed:
            packed = file.read(PIECE if left is None else min(PIECE, left))
            left = None if left is None else left - len(packed)
        unpacked = stream.decompress(packed, PIECE)
        if not packed and not unpacked:
            raise EOFError("the stream has no end")
        yield len(unpacked)

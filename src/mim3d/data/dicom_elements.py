"""Elements of DICOM headers as text, and errors that repeat none of them: they may name somebody."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pydicom

from mim3d.errors import DataError

UNREADABLE = (
    pydicom.errors.BytesLengthException,
    pydicom.errors.InvalidDicomError,
    MemoryError,  # of an element that claims to be as long as 4 GB
    OverflowError,
    OSError,
    EOFError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)


def text(header: pydicom.Dataset, name: str) -> str:
    """The value of an element as text, empty if there is none; several values are joined by a backslash."""
    value = header.get(name)
    if value is None:
        return ""
    values = [value] if isinstance(value, str) or not isinstance(value, Iterable) else value
    return "\\".join(str(one).strip() for one in values)


@contextmanager
def quiet() -> Iterator[None]:
    """Values of headers taken as they are, without a word: pydicom's own would repeat them."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with pydicom.config.disable_value_validation(), warnings.catch_warnings(record=True):
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def nameless_errors(what: str) -> Iterator[None]:
    """Turn whatever a broken header raises into an error that repeats nothing of the header.

    Raises:
        DataError: If something cannot be read.
    """
    try:
        with quiet():
            yield
    except (*UNREADABLE, zlib.error) as error:
        raise DataError(
            f"{what}: an element of it is missing or broken ({type(error).__name__}); a whole, standard "
            "DICOM file is needed: export it again"
        ) from error

"""The mistakes a user can mend: each message names the thing, the value got, the value needed, the remedy."""


def worded(value: object) -> str:
    """A setting as a message has it: no brackets, no quotes; groups of settings as names and values."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {worded(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(worded, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == "" else str(value)


class MimError(Exception):
    """A mistake that the user can mend; the command line prints it as one line and ends with status 2."""


class ConfigError(MimError):
    """A setting, or a combination of settings, that cannot be."""


class GeometryError(MimError):
    """Shapes, spacings or grids that do not fit together."""


class DataError(MimError):
    """A scan, a label map or a folder that cannot be used as it is."""


class StoreError(MimError):
    """A store that is missing, of another version, or lacks what is asked of it."""


class DamageError(StoreError):
    """Data of a case that are not what was written."""


class UnreachableError(MimError):
    """An object store that does not answer, or lets nobody in: nothing is known of what was asked for."""


class DamageFound(MimError):  # noqa: N818  not an error of the command, but what it was asked to find
    """What `mim3d verify` found; the command line ends with status 1."""


class ScansFailed(MimError):  # noqa: N818  the command did what it was asked, for the other scans
    """Some scans of a batch could not be predicted; the command line ends with status 1."""


class CheckpointError(MimError):
    """A run folder or weights that are missing, or do not fit the model."""


class Interruption(MimError):  # noqa: N818  not an error: somebody asked for it
    """A run was asked to end, was saved, and can be resumed."""


def system_line(error: OSError) -> str:
    """A full disk, a folder that may not be written, a file where a folder is needed: in one line."""
    file = error.filename2 or error.filename
    reason = " ".join((error.strerror or str(error)).split())
    remedy = "make room, mend the permissions, or name another place, then run the same command again"
    return f"{file}: {reason}; {remedy}" if file else f"{reason}; {remedy}"

"""Files that are either the old ones or complete, and directories that can be written to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_file(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Replaces a file in one step: the old one stays until the new one is complete on the disk.

    A link stays one, to the new file; to a device or a pipe the bytes are written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(content)
            return
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def writable_directory(path: str | os.PathLike[str]) -> Path:
    """The directory, made where it is missing; refused before any long work where no file can be made in it."""
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to the directory {str(directory)!r}: {error.strerror}; choose another one.") from error
    return directory


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Writing files so that a reader, or a crash, never meets half of one."""

import codecs
import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from utils.errors import CheckpointError, UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room for a file."""
LONG_ESCAPES = dict(zip("bfnrt", (f"\\u{ord(each):04x}" for each in "\b\f\n\r\t"), strict=True))
"""``t`` of JSON's ``\\t`` → ``\\u0009``, and so on."""


@contextlib.contextmanager
def write_atomically(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file beside ``path`` and move it there once it is whole and on disk.

    Text is UTF-8; what is none (a name in another encoding) is written as ``\\udc..``.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full. What stood at
            ``path`` before is untouched, and nothing else is left.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name of a file may be no text, and would otherwise be refused when it is written.
        binary = "b" in mode
        text: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with open(descriptor, mode, **({} if binary else text)) as file:
            yield file
            file.flush()
            # Else a power cut may leave the new name, without the bytes.
            os.fsync(file.fileno())
        # `mkstemp` makes files that nobody but their owner can read.
        os.chmod(temporary, 0o666 & ~_umask())
        if (waiting := _waiting.get()) is None:
            _put_in_place(temporary, path)
        else:
            waiting.append((temporary, path))
        temporary = None
    # On a full disk torch's zip writer raises a RuntimeError of its own.
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _of_writing(error):
            raise
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


_waiting: ContextVar[list[tuple[str, Path]] | None] = ContextVar("waiting", default=None)


@contextlib.contextmanager
def all_or_none() -> Iterator[None]:
    """Let the files that ``write_atomically`` writes within appear together at its end, or, where
    something fails, none of them; a power cut in the instant of the renaming excepted."""
    waiting: list[tuple[str, Path]] = []
    before = _waiting.set(waiting)
    try:
        yield
        while waiting:
            try:
                _put_in_place(*waiting[0])
            except OSError as error:
                raise cannot_write(waiting[0][1], error) from error
            # What could not be moved stays in the list, and is removed below with all behind it.
            del waiting[0]
    finally:
        _waiting.reset(before)
        for temporary, _ in waiting:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def cannot_write(path: str | Path, error: BaseException) -> UserError:
    """What to tell of a file that could not be written, by whatever library."""
    cause = _of_writing(error)
    reason = (cause.strerror if cause else None) or str(error)
    # numpy counts what was not written instead of asking why.
    if (cause and cause.errno in FULL) or re.search(r"requested and \d+ written", str(error)):
        return UserError(
            f"{path}: the disk is full or the quota used up ({reason}); free some and repeat the"
            " command"
        )
    return UserError(f"{path}: cannot be written ({reason})")


def _of_writing(error: BaseException | None) -> OSError | None:
    """The error of the system behind one of a library, such as torch's zip writer."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _put_in_place(temporary: str, path: Path) -> None:
    os.replace(temporary, path)
    _sync_folder(path.parent)


def exclusive(path: Path) -> IO | None:
    """``path``, opened and locked against other processes for as long as it stays open; ``None``
    where another process holds it. The system lets go of the lock with the process; where the file
    system has no locks (some networks), there is no protection.

    Raises:
        UserError: it cannot be made.
    """
    try:
        file = open(path, "ab")  # noqa: SIM115, open is what the caller wants it
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        if fcntl is not None:  # not flock: that is inherited by loader processes
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            file.close()
            return None
    return file


def is_held(path: Path) -> bool:
    """Whether another process holds ``path``, see ``exclusive``; not to be asked by one that does,
    which would let go of it."""
    if fcntl is None or not os.access(path, os.W_OK):
        return False
    file = exclusive(path)
    if file is not None:
        file.close()
    return file is None


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # In the long form, as ``read_json5`` takes a short one for the backslash of a Windows path.
    text = re.sub(r"\\(.)", lambda found: LONG_ESCAPES.get(found[1], found[0]), text)
    with write_atomically(path) as file:
        file.write(f"{text}\n")


def read_regular(path: str | Path, limit: int) -> bytes:
    """The bytes of a file that somebody else may have made.

    A FIFO would be waited for forever, a device has no end, and a sparse file of a few kB may claim
    any size, so each is refused before a byte is read.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than ``limit`` bytes;
            ``strerror`` says which.
        ValueError: a name that no file can have.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size <= limit:
            # Without a number, which Python would set aside for each small photo. Files of the
            # kernel have a size of 0, whatever is in them, so what was read is measured again.
            data = file.read()
            if len(data) <= limit:
                return data
    raise OSError(errno.EFBIG, f"larger than the {limit / 1e6:,.0f} MB that are read")


def refuse_other_content(path: str | Path) -> None:
    """Call by its name what often lies in the place of a large binary file; to be called first.

    Raises:
        CheckpointError: it is a Git LFS pointer, a web page, or another user's alone.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(512).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    except PermissionError as error:  # which torch and safetensors call a damaged file
        raise CheckpointError(
            f"{path}: this user may not read it; change whose it is, or name another file"
        ) from error
    except OSError:  # whoever reads the file will say so
        return
    if head.startswith(b"version https://git-lfs.github.com/"):
        raise CheckpointError(
            f"{path}: a Git LFS pointer, not the file it stands for; fetch that with 'git lfs pull'"
        )
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")):
        raise CheckpointError(
            f"{path}: a web page, not weights (the link led to a login, or to a page about the"
            " file); delete it and download the file itself"
        )


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; systems that can't open a folder do without."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    # There is no way to ask for it without setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Files that are either whole or absent: everything is written beside its place and renamed into it."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from replib.spec import ReplibError


class CannotWrite(ReplibError, OSError):
    """No right to write a result, or no place for it. What comes after it could not be written either, so a plan stops."""


class DiskFull(CannotWrite):
    """No room for a result; everything finished before is kept."""


def refusal(e: OSError, path: object) -> CannotWrite | None:
    """'No space left' or 'permission denied' as one paragraph with the remedy; None for other errors."""
    if e.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return CannotWrite(
            f"{path} could not be written: {os.strerror(e.errno).lower()}. Nothing that was finished is lost. Make the folder writable, or "
            f"set REPLIB_ROOT to a checkout that is, and give the same command again."
        )
    if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(
            f"The disk is full: {path} could not be written. Nothing that was finished is lost, and the run goes on from its last "
            f"saved epoch. Free some space (replib status shows where the store is) and give the same command again."
        )
    return None


@contextlib.contextmanager
def refusals_explained(path: Path) -> Iterator[None]:
    """Turn what :func:`refusal` knows of into its error."""
    try:
        yield
    except OSError as e:
        if explained := refusal(e, path):
            raise explained from e
        raise


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` with a temporary file beside `path`, flush it to disk and rename it to `path`.

    A process killed at any moment leaves the old file or the new one, never a part. A full disk raises :class:`DiskFull`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with refusals_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as f:
                write(f)
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """`data` into `path`, whole or not at all."""
    write_atomically(path, lambda f: f.write(data))


def write_json(path: Path, data: Any) -> None:
    """`data` as indented JSON; NaN and infinities are refused because other readers of JSON refuse them."""
    write_bytes(path, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


def table_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV with the columns of the first row and those that later rows add; missing values are empty."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    text = io.StringIO(newline="")
    out = csv.DictWriter(text, columns, lineterminator="\n")
    out.writeheader()
    out.writerows([{k: _brief(v) for k, v in row.items()} for row in rows])
    return text.getvalue().encode()


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows into a CSV file; see :func:`table_bytes`."""
    write_bytes(path, table_bytes(rows))


def _brief(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as compressed npz; object arrays are refused since reading them would execute code."""
    for name, a in arrays.items():
        if np.asarray(a).dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; store numbers only")
    write_atomically(path, lambda f: np.savez_compressed(f, **arrays))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file. Pickled content is refused."""
    with np.load(path, allow_pickle=False) as f:
        return {name: f[name] for name in f.files}


def write_weights(path: Path, tensors: Mapping[str, Any]) -> None:
    """Tensors by name as safetensors."""
    from safetensors.torch import save

    write_bytes(path, save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

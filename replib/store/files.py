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


class DiskFull(ReplibError, OSError):
    """No room for a result; everything finished before is kept."""


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn 'no space left' into one paragraph with the remedy."""
    try:
        yield
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(
            f"The disk is full: {path} could not be written. Nothing that was finished is lost, and the run goes on from its last "
            f"saved epoch. Free some space (replib status shows where the store is) and give the same command again."
        ) from e


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` with a temporary file beside `path`, flush it to disk and rename it to `path`.

    A process killed at any moment leaves the old file or the new one, never a part. A full disk raises :class:`DiskFull`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_full_explained(path):
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


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as CSV with the columns of the first row and those that later rows add; missing values are empty."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    text = io.StringIO(newline="")
    out = csv.DictWriter(text, columns, lineterminator="\n")
    out.writeheader()
    out.writerows([{k: _brief(v) for k, v in row.items()} for row in rows])
    write_bytes(path, text.getvalue().encode())


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


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

"""Checkpoints that other projects released, read as plain tensors and fitted to a network of ours.

Nothing that a file brings along is executed: PyTorch's restricted unpickler builds tensors and plain containers and refuses every other
name. The leftovers of training that the releases of the papers are known to carry beside the weights (optimizer settings, argument
objects, NumPy scalars) become inert placeholders instead, and are dropped.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from replib.spec import ReplibError

LEFTOVERS = ("apex", "argparse", "cox", "dill", "easydict", "numpy", "robustness")
"""Packages whose objects may lie beside the weights. They are never imported for it."""
CONTAINERS = ("model", "state_dict")
PREFIXES = ("module.model.", "model.", "module.", "1.", "")
DROPPED = frozenset({"attacker", "normalize", "normalizer"})
"""Parts of the training set-up that are no part of the network."""


class Leftover:
    """Stands for an object that is not read: takes any arguments and any state, and keeps none."""

    def __new__(cls, *args: object, **kwargs: object) -> Leftover:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Nothing is kept."""

    def __setstate__(self, state: object) -> None:
        """Nothing is kept."""


def _streams(path: Path) -> Iterator[Any]:
    """The pickles of a checkpoint, as files that stand at their beginning."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("/data.pkl"):
                    yield archive.open(name)
        return
    with path.open("rb") as stream:
        for _ in range(4):  # files of before PyTorch 1.6: magic number, protocol, system, contents; then storages
            if not stream.peek(1):
                return
            yield stream


def _contents(path: Path) -> tuple[list[str], int]:
    """Dotted names that the pickles of a checkpoint refer to, and their highest protocol, found by reading their instructions, not by
    following them."""
    names, protocol = [], 0
    for stream in _streams(path):
        pushed: list[str] = []
        memo: list[str] = []  # of protocol 4 and later, which number what they remember
        for operation, argument, _ in pickletools.genops(stream):
            if operation.name == "PROTO":
                protocol = max(protocol, argument)
            elif operation.name == "GLOBAL":
                names.append(argument.replace(" ", "."))
            elif operation.name == "STACK_GLOBAL":  # module and name are the last two strings
                names.append(".".join(pushed[-2:]))
            elif operation.name == "MEMOIZE":
                memo.append(pushed[-1] if pushed else "")
            elif operation.name in ("BINGET", "LONG_BINGET") and argument < len(memo):
                pushed.append(memo[argument])
            elif "UNICODE" in operation.name:
                pushed.append(argument)
    return names, protocol


def read(path: Path) -> Any:
    """What a checkpoint contains, on the CPU: tensors, numbers, strings and containers of these; :class:`Leftover` for known leftovers.

    Raises :class:`~replib.spec.ReplibError` for a damaged file and for one that refers to anything else, and names it.
    """
    try:
        names, protocol = _contents(path)
        known = {name for name in names if name.partition(".")[0] in LEFTOVERS}
        foreign = [name for name in names if name.partition(".")[0] not in (*LEFTOVERS, "torch", "collections", "_codecs")]
        with torch.serialization.safe_globals([(Leftover, name) for name in sorted(known)]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ReplibError(f"There is no checkpoint {path}. Correct the path, or fetch the file; replib data says from whom.") from None
    except pickle.UnpicklingError as e:
        refused = re.search(r"GLOBAL (\S+)", str(e))
        if refused or foreign:
            raise ReplibError(
                f"{path} refers to {refused[1] if refused else foreign[0]}, which no checkpoint of tensors needs. It was refused "
                "and nothing of the file was run. Fetch the file anew from its publisher; if it is meant to be so, ask them for the "
                "tensors alone."
            ) from None
        if protocol > 3:
            raise ReplibError(
                f"{path} was saved with pickle protocol {protocol}, and what reads files safely knows protocols up to 3. Nothing of the "
                "file was run. Ask its publisher for one that torch.save wrote as it does by default."
            ) from None
        raise _damaged(path, e) from e
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, IndexError, TypeError, AttributeError, zipfile.BadZipFile) as e:
        raise _damaged(path, e) from e


def _damaged(path: Path, cause: Exception) -> ReplibError:
    why = str(cause).partition("\n")[0].partition(". In PyTorch")[0].rstrip(".") or "it ends too early"  # then comes unsafe advice
    why = "it is a TorchScript program" if "TorchScript" in why else why
    return ReplibError(
        f"{path} cannot be read as a checkpoint ({why}): it is damaged or of another kind. Fetch it anew from its publisher."
    )


def tensors(contents: Any, source: object) -> dict[str, Tensor]:
    """The tensors by name inside what :func:`read` returned, pairs ``X_orig`` and ``X_mask`` of a pruned network multiplied to ``X``.

    `source` is what errors call the file.
    """
    for key in CONTAINERS:
        if isinstance(contents, Mapping) and isinstance(contents.get(key), Mapping):
            contents = contents[key]
            break
    if not isinstance(contents, Mapping) or not contents:
        raise ReplibError(f"{source} holds a {type(contents).__name__} instead of weights by name. Give a state dict, or a file with one.")
    if odd := [str(n) for n, t in contents.items() if not isinstance(t, Tensor)]:
        raise ReplibError(f"{source} has entries that are no tensors: {_few(odd)}. Give a file whose weights are all tensors.")
    found = {}
    for name, t in contents.items():
        if name.endswith("_orig") and (stem := name.removesuffix("_orig")) + "_mask" in contents:
            found[stem] = t * contents[f"{stem}_mask"]
        elif not (name.endswith("_mask") and name.removesuffix("_mask") + "_orig" in contents):
            found[name] = t
    return found


def fit(found: Mapping[str, Tensor], own: Mapping[str, Tensor], source: object, without: str = "") -> dict[str, Tensor]:
    """`found` by the names of the network whose state dict is `own`: whichever known prefix makes most names and shapes agree.

    Entries of attackers and normalisers are dropped, and those of the layer `without` (a classifier that stays as it is). What may be
    missing besides: the batch counters of batch normalisation, which files of old PyTorch lack. Everything else must be there, in its
    shape, finite; what is there and not known is an error. `source` is what errors call the file.
    """

    def agree(prefix: str) -> int:
        return sum(n.startswith(prefix) and n[len(prefix) :] in own and own[n[len(prefix) :]].shape == t.shape for n, t in found.items())

    prefix = max(PREFIXES, key=agree)  # the first of equals
    left_out = f"{without}." if without else "\n"  # no name has a line break
    kept = {n: t for n, t in found.items() if not DROPPED & set(n.split(".")) and not (prefix == "1." and n.startswith("0."))}
    inside = {n.removeprefix(prefix): t for n, t in kept.items() if n.startswith(prefix)}
    inside = {n: t for n, t in inside.items() if not n.startswith(left_out)}
    wrong = {
        "missing": [n for n in own if n not in inside and not n.endswith("num_batches_tracked") and not n.startswith(left_out)],
        "unknown": [n for n in kept if not n.startswith(prefix)] + [n for n in inside if n not in own],
        "of another shape": [n for n, t in inside.items() if n in own and t.shape != own[n].shape],
        "not finite": [n for n, t in inside.items() if n in own and not torch.isfinite(t).all()],
    }
    if any(wrong.values()):
        what = "; ".join(f"{len(names)} {how} ({_few(names)})" for how, names in wrong.items() if names)
        raise ReplibError(f"The weights in {source} do not fit the network: {what}. Give a checkpoint of the same architecture.")
    return {n: t.to(own[n].dtype) for n, t in inside.items()}


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)

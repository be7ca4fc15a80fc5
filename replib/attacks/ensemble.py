"""AutoAttack (Croce and Hein, ICML 2020), run by its authors' code in the package ``pyautoattack``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from replib.attacks.spec import AutoAttack
from replib.spec import ReplibError

_NORMS = {"linf": "Linf", "l2": "L2"}


def autoattack(model: nn.Module, x: Tensor, y: Tensor, attack: AutoAttack, generator: torch.Generator) -> Tensor:
    """Images that some member of the ensemble broke, and `x` where none did. Shape of `x`.

    The ensemble seeds torch's global generator; it gets a seed drawn from `generator` and the global state is put
    back. With fewer than ten classes the targeted members try all K - 1 others. Raises
    :class:`~replib.spec.ReplibError` without the package, and for K < 4, where the targeted loss (third and fourth
    largest logit) is undefined.
    """
    try:
        import pyautoattack  # optional dependency
    except ModuleNotFoundError as error:
        raise ReplibError("AutoAttack needs the package pyautoattack; type `pip install replib[attacks]`.") from error
    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    if classes < 4 and attack.members not in (("apgd-ce",), ("square",), ("apgd-ce", "square")):
        raise ReplibError(
            f"AutoAttack needs at least 4 classes for its targeted losses but the net has {classes}; "
            "use suite = 'custom' with members = ('apgd-ce', 'square')."
        )
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        ensemble = pyautoattack.AutoAttack(
            model,
            norm=_NORMS[attack.norm],
            eps=attack.eps,
            version=attack.suite,
            attacks=list(attack.members) or None,
            seed=seed,
            device=x.device,
        )
        if attack.suite == "custom":  # members at the strength that they have in the standard version
            ensemble.apgd.n_restarts = ensemble.fab.n_restarts = 1
        ensemble.apgd_targeted.n_target_classes = ensemble.fab.n_target_classes = min(9, classes - 1)
        result = ensemble.run_standard_evaluation(x, y, batch_size=len(x))
    return (result[0] if isinstance(result, tuple) else result).detach()

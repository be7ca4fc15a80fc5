"""replib: four papers on sparsity and adversarial robustness, re-created.

In a notebook::

    import replib
    table_1 = replib.results("sparsity_winning_twice/table_1", "laptop")
    table_1.frame            # tidy: one line a row, metric and seed
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["reported", "results"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `replib list` and `replib --help` answer without importing torch.
    if name in __all__:
        from replib.experiments import registry

        return getattr(registry, name)
    raise AttributeError(f"module 'replib' has no attribute {name!r}; it has {', '.join(__all__)}")

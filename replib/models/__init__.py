"""Networks: :mod:`replib.models.spec` names a net (no torch), :mod:`replib.models.build` makes it."""

from replib.models.spec import Net, small_dense, weight_shapes

__all__ = ["Net", "small_dense", "weight_shapes"]

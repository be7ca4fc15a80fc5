"""What the stand-ins look like."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from replib.data.load import load
from replib.data.roles import ROLES
from replib.data.spec import Data


def samples(each: int = 8) -> Figure:
    """The first `each` training pictures of every embedded data set, one row a data set, with their classes."""
    roles = [role for role in ROLES.values() if role.embedded]
    heights = [role.shape[1] / role.shape[2] + 0.2 for role in roles]
    size, ratios = (1.1 * each, 1.1 * sum(heights)), {"height_ratios": heights}
    figure, axes = plt.subplots(len(roles), each, figsize=size, gridspec_kw=ratios, squeeze=False, layout="constrained")
    for row, role in zip(axes, roles, strict=True):
        pictures = load(Data(role.name)).train
        for ax, picture, label in zip(row, pictures.x, pictures.y, strict=False):
            ax.imshow(picture[0].numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set_title(f"{int(label)}", fontsize=9, pad=2)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{role.name.replace('_', ' ')}\n({role.stands_for})", rotation=0, ha="right", va="center", fontsize=9)
    return figure

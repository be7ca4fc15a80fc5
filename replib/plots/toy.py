"""The toy problem drawn: every classifier on the curve that its angle puts it on."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replib.analysis.toy import Toy, implied_eps, papers_robust_accuracy
from replib.plots.style import look

METRICS = ("clean_accuracy_fraction", "angle", "cosine", "adversarial_accuracy_fraction")
OURS = ("robust_accuracy_fraction", "sample_accuracy_fraction", "keeps_signal_share")
ALT = (
    "Robust accuracy over the angle to the Bayes direction: one curve, on which the classifiers of every seed lie as points and "
    "the printed ones as crosses."
)
CAPTION = (
    "The paper's robust accuracy is a function of the angle to the Bayes direction alone (grey curve, radius 2). Points are seeds, crosses "
    "the printed numbers. A ticket without the informative coordinate has a right angle and guesses."
)


def curve(frame: pd.DataFrame, printed: pd.DataFrame) -> Figure:
    """Robust accuracy over the angle: the closed form, all seeds, and the printed table."""
    figure, ax = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    problem, angles = Toy(), np.linspace(0, np.pi / 2, 200)
    ax.plot(angles, [papers_robust_accuracy(np.cos(a), problem.distance, problem.eps) for a in angles], color="#999999", zorder=0)
    for setting, mine in frame.groupby("setting", sort=False):
        style = look(setting)
        wide = mine.pivot(index="seed", columns="metric", values="value")
        ax.plot(wide.angle, wide.adversarial_accuracy_fraction, style.marker, color=style.colour, alpha=0.7, label=style.label)
    theirs = printed.pivot(index="setting", columns="metric", values="value")
    for setting, row in theirs.iterrows():
        ax.plot(row.angle, row.adversarial_accuracy_fraction, "x", color=look(str(setting)).colour, markersize=10)
    ax.set(xlabel="angle to the Bayes direction (radians)", ylabel="robust accuracy, as the paper counts")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure


def radii(printed: pd.DataFrame) -> pd.DataFrame:
    """The radius at which each printed angle gives the printed robust accuracy."""
    wide = printed.pivot(index="setting", columns="metric", values="value").reindex(printed.setting.unique())
    eps = [
        implied_eps(np.cos(a), Toy().distance, robust)
        for a, robust in zip(wide.angle, wide.adversarial_accuracy_fraction, strict=True)
    ]  # fmt: skip
    return pd.DataFrame({"setting": wide.index, "printed angle": wide.angle, "printed robust accuracy": wide.adversarial_accuracy_fraction,
                         "radius": eps})  # fmt: skip

"""One look for the whole book: a colour, a marker and a printed name for every method of the four papers."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl


@dataclass(frozen=True)
class Look:
    """How a method is drawn. Colours are told apart by colour-blind readers, and markers and dashes do not rely on them."""

    colour: str
    marker: str = "o"
    dash: str = "-"
    label: str = ""


STYLE: dict[str, Look] = {
    "Baseline": Look("#000000", "s", "-.", "Dense"),
    "Small Dense": Look("#7f7f7f", "D"),
    "Random Pruning": Look("#bcbd22", "v"),
    "OMP": Look("#8c564b", "^"),
    "SNIP": Look("#56b4e9", "<"),
    "GraSP": Look("#9467bd", ">"),
    "SynFlow": Look("#17becf", "p"),
    "IGQ": Look("#2f6f4e", "h"),
    "Robust Bird": Look("#e69f00", "o"),
    "Flying Bird": Look("#0072b2", "P"),
    "Flying Bird+": Look("#d55e00", "X"),
    "Fast AT": Look("#cc79a7", "^"),
    "Fast AT, Flying Bird+": Look("#8f3f6b", "*"),
    "Free AT": Look("#44aa99", "H"),
    "Free AT, Flying Bird+": Look("#117733", "8"),
    "SGD tickets": Look("#009e73", "o", "-", "SGD"),
    "Fast AT tickets": Look("#cc79a7", "^", "-", "Fast AT"),
    "Fast AT (step decay) tickets": Look("#cc79a7", "v", ":", "Fast AT, step decay"),
    "PGD-10 tickets": Look("#5d3a9b", "s", "--", "PGD-10"),
    "LUP": Look("#56b4e9", "v"),
    "GUP": Look("#d55e00", "X"),
    "FP": Look("#8c564b", "D"),
    "NS": Look("#009e73", "P"),
    "LUP-rand": Look("#1f5f86", "v", ":"),
    "GUP-rand": Look("#7a3600", "X", ":"),
    "FP-rand": Look("#c4a07c", "D", ":"),
    "NS-rand": Look("#004d38", "P", ":"),
    "Inverse Weights Inheritance": Look("#cc79a7", "*", "-", "IWI"),
    "Dense by Stop-C": Look("#000000", "s", "-."),
    "IWI by Stop-C": Look("#cc79a7", "*"),
    "Sparsity penalty": Look("#7f7f7f", "s", "--"),
    "Dense, trained again": Look("#000000", "o"),
    "Base for slimming": Look("#7f7f7f", "D"),
    "Winning Ticket": Look("#0072b2", "o"),
    "IMP": Look("#7f7f7f", "D"),
    "Few-shot Ticket": Look("#e69f00", "^"),
    "Layer-wise Ticket": Look("#9467bd", "v"),
    "Natural Ticket": Look("#2f6f4e", "D"),
    "Ticket without resets": Look("#d55e00", "P"),
    "Bayes": Look("#000000", "s"),
    "SVM": Look("#7f7f7f", "D"),
    "Adv.Tr": Look("#0072b2", "P", "-", "adversarial training"),
    "AWT": Look("#d55e00", "X"),
    "AWT, transferred weights": Look("#e69f00", "X", ":"),
    "AWT, iterative ticket's layers": Look("#9467bd", "D", "-"),
    "AWT, γ² = 1": Look("#8c564b", "*", ":"),
    "AWT, γ² = 10⁻⁶": Look("#e69f00", "*", ":"),
    "Algorithm 1": Look("#cc79a7", "^", "--"),
    "random structure": Look("#bcbd22", "v"),
    "random structure, iterative ticket's layers": Look("#8c564b", "<", ":", "random, iterative ticket's layers"),
    "full model, other random numbers": Look("#000000", "s", ":", "dense twin"),
    "DNS, trained from scratch": Look("#17becf", "D", "--"),
    "magnitude at initialization": Look("#7f7f7f", "^", "--", "largest initial weights"),
    "full model": Look("#000000", "s", "-.", "dense"),
    "full model, printed radius": Look("#7f7f7f", "s", ":", "dense, printed radius"),
    "Cosentino et al. 2019": Look("#0072b2", "o", "--", "iterative ticket"),
    "NTT": Look("#009e73", "P"),
    "NTT, transferred weights": Look("#004d38", "P", ":"),
    "DNS": Look("#8c564b", "^", "--"),
    "WT": Look("#0072b2", "o", "-", "winning ticket"),
    "IWI": Look("#cc79a7", "*"),
    "sampled, long search": Look("#8c564b", "D", ":", "sampled AWT, long search"),
    "S-AWT": Look("#e69f00", "D", "-", "sampled AWT"),
    "STD": Look("#e69f00", "o", "-", "standard pre-training"),
    "FAT": Look("#009e73", "^", "-", "fast adversarial pre-training"),
    "AT": Look("#0072b2", "s", "-", "adversarial pre-training"),
    "STD/FAT": Look("#d55e00", "v"),
    "STD/AT": Look("#9467bd", "D", "--"),
    "FAT/AT": Look("#44aa99", "P", ":"),
    "IMP with standard re-training": Look("#0072b2", "s", "-", "IMP, standard re-training"),
    "IMP with adversarial re-training": Look("#56b4e9", "D", "--", "IMP, adversarial re-training"),
    "One-shot Magnitude Pruning": Look("#8c564b", "^", "-", "one-shot magnitude"),
}
CHANCE = "#999999"


def look(setting: str) -> Look:
    """The look of a setting; shuffled controls keep their method's colour and are dashed."""
    name = setting.removesuffix(" (shuffled)")
    base = STYLE.get(name, Look("#aa4466"))
    dash = ":" if setting != name else base.dash
    return Look(base.colour, base.marker, dash, setting if setting != name else base.label or name)


def apply() -> None:
    """Set fonts, sizes and colours for all figures of a notebook. Figures keep a white card, so that they read in dark mode too."""
    mpl.rcParams.update(
        {
            "figure.dpi": 110, "savefig.dpi": 160, "figure.facecolor": "white", "axes.facecolor": "white", "font.size": 10,
            "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e5e5e5", "grid.linewidth": 0.6,
            "axes.axisbelow": True, "legend.frameon": False, "svg.hashsalt": "replib", "svg.fonttype": "none",
        }
    )  # fmt: skip

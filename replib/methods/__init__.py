"""Sparse-training methods, one file each: its choices with their sources, and its update rule."""

from replib.methods.flying_bird import FlyingBird, FlyingBirdPlus
from replib.methods.mask_search import MaskSearch
from replib.methods.robust_bird import BirdSearch
from replib.methods.structured import FilterPruning, NetworkSlimming
from replib.methods.surgery import Surgery
from replib.methods.tickets import SNIP, GraSP, Magnitude, Quota, Random, Searched, Shuffled, SynFlow, Ticket
from replib.methods.winning_ticket import AWT, NTT

__all__ = [
    "AWT",
    "NTT",
    "SNIP",
    "BirdSearch",
    "FilterPruning",
    "FlyingBird",
    "FlyingBirdPlus",
    "GraSP",
    "Magnitude",
    "MaskSearch",
    "NetworkSlimming",
    "Quota",
    "Random",
    "Searched",
    "Shuffled",
    "Surgery",
    "SynFlow",
    "Ticket",
]

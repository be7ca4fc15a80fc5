"""Sparse-training methods, one file each: its choices with their sources, and its update rule."""

from replib.methods.flying_bird import FlyingBird, FlyingBirdPlus
from replib.methods.robust_bird import BirdSearch
from replib.methods.structured import FilterPruning, NetworkSlimming
from replib.methods.tickets import SNIP, GraSP, Magnitude, Quota, Random, Searched, Shuffled, SynFlow, Ticket

__all__ = [
    "SNIP",
    "BirdSearch",
    "FilterPruning",
    "FlyingBird",
    "FlyingBirdPlus",
    "GraSP",
    "Magnitude",
    "NetworkSlimming",
    "Quota",
    "Random",
    "Searched",
    "Shuffled",
    "SynFlow",
    "Ticket",
]

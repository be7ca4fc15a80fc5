"""Sparse-training methods, one file each: its choices with their sources, and its update rule."""

from replib.methods.flying_bird import FlyingBird, FlyingBirdPlus
from replib.methods.robust_bird import BirdSearch
from replib.methods.tickets import SNIP, GraSP, Magnitude, Quota, Random, Searched, Shuffled, SynFlow, Ticket

__all__ = [
    "SNIP",
    "BirdSearch",
    "FlyingBird",
    "FlyingBirdPlus",
    "GraSP",
    "Magnitude",
    "Quota",
    "Random",
    "Searched",
    "Shuffled",
    "SynFlow",
    "Ticket",
]

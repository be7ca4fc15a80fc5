"""Measurements on trained networks, each a job."""

"""Exhibits in the papers' words, profiles that scale them, and the runner."""

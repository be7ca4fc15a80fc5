"""Masks, layer-wise quotas, saliency scores and cost of sparse networks."""

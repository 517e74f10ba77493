"""Hyperparameters by maximum marginal likelihood."""

"""Hyperparameters of the sparse Gaussian process by maximum marginal likelihood.

Here are the likelihood with its gradient and its maximisation; what is free and where a search begins is decided in
`potential.training`.  It may import `gp` and what `gp` may.
"""

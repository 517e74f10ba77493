"""Training: from labelled frames to a fitted state.

Here are the choice of sparse points, the walk over training rows, checkpoints, hyperparameters and the order of a fit
(`fit.fit_state`).  Error bars, committees and model files are beside this folder.  It may import `potential.state`,
`potential.model`, `potential.term` and the layers below `potential`.
"""

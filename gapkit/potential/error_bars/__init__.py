"""Error bars of a fitted state: standard deviations, intervals, signs of extrapolation, calibration, leave-one-out.

All are functions over `FittedState`.  The variances themselves are in `gp.variance`, the statistics of calibration and
novelty in `uncertainty`.  It may import `potential.state`, `potential.training` and the layers below `potential`.
"""

"""Standard deviations, calibration and leave-one-out errors of a fitted potential."""

"""The sparse Gaussian process: basis, design rows, noise, triangular factors, solver, posterior, prediction.

Evidence and variances have folders of their own.  No structure is read and no setting chosen here: that is done in
`potential`.  It may import `descriptors`, `kernels`, `neighbours` and all that stands below, and no ASE.
"""

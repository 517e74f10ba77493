"""The sparse Gaussian process: noise, factors, solver, posterior, evidence."""

"""Energy terms beside the Gaussian process, and their sum."""

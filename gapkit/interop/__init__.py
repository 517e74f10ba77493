"""Other programs that gapkit works with: QUIP, LAMMPS and Dask, each in a folder with an optional extra.

Nothing is computed here that `potential` cannot compute alone.  It may import `validation`, `calculator`, `potential`
and all that stands below; none of the three imports another.
"""

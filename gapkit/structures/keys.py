"""Names under which the labels of a frame are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.options.checked import Checked
from gapkit.options.kinds import Text
from gapkit.targets import TARGETS


@registered("LabelKeys")
@dataclass(frozen=True)
class LabelKeys(Checked):
    """Names under which the labels of a frame are found; None switches a label off.

    Under its default name a label is taken from the results of the attached calculator, then from `atoms.info`
    (per frame) or `atoms.arrays` (per atom). Under any other name `info` and `arrays` come first, and the default
    name is not consulted.

    Attributes
    ----------
    energy : eV, whole frame
    forces : eV/Å, (n_atoms, 3)
    stress : eV/Å^3, 6 (xx, yy, zz, yz, xz, xy), 9 or (3, 3), ASE's sign
    virial : eV, 6 (same order), 9 or (3, 3); virial = -stress * volume
    config_type : any, turned into a string
    energy_sigma, virial_sigma : eV, absolute for the whole frame
    force_sigma : eV/Å, one number per frame (`info`) or per atom (`arrays`)
    force_mask : (n_atoms,) bool, True where the force is excluded (gap_fit's convention)
    others : mapping of str to str or None
        Further targets, their sigmas and masks: name in `gapkit.targets.TARGETS` to key. Default: that name itself.
    """

    energy: Text | None = "energy"
    forces: Text | None = "forces"
    stress: Text | None = "stress"
    virial: Text | None = "virial"
    config_type: Text | None = "config_type"
    energy_sigma: Text | None = "energy_sigma"
    force_sigma: Text | None = "force_sigma"
    virial_sigma: Text | None = "virial_sigma"
    force_mask: Text | None = "force_mask"
    others: Mapping[str, Text | None] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {name for t in TARGETS.values() for name in (t.name, t.sigma, t.mask)}
        if unknown := set(self.others) - known:
            raise InputError(f"`others` of LabelKeys must name targets, sigmas and masks, got {sorted(unknown)}")

    def of(self, name: str) -> str | None:
        """Key of a label, sigma or mask by its name in the table of targets."""
        return self.given().get(name, name)

    def given(self) -> dict[str, str | None]:
        """All keys by name, those of `others` last."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "others"}
        return own | dict(self.others)

    def changed(self) -> dict[str, str]:
        """Keys that are neither None nor the default, by name."""
        return {name: key for name, key in self.given().items() if key is not None and key != name}

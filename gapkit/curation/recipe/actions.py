"""What is done about each kind of finding: stop, leave the frame out, write it down, or nothing."""

from __future__ import annotations

ACTIONS = ("stop", "drop", "flag", "ignore")

# Wrong units, signs or keys concern whole files: leaving single frames out would hide it. What is wrong with one frame
# beyond doubt goes; what stands out is written down, for a rare structure stands out as well.
DEFAULT_ACTIONS: dict[str, str] = {
    "conflicting_labels": "stop",
    "unusable": "stop",
    "no_cell": "stop",
    "mixed_units": "stop",
    "energy_units": "stop",
    "force_units": "stop",
    "stress_units": "stop",
    "energy_force_units": "stop",
    "energy_stress_units": "stop",
    "force_sign": "stop",
    "stress_sign": "stop",
    "unlabelled": "drop",
    "close_atoms": "drop",
    "contradictory_duplicates": "drop",
    "duplicates": "ignore",  # a step of their own
    "energy_force": "flag",
    "energy_stress": "flag",
    "energy_outlier": "flag",
    "energy_outliers": "flag",
    "force_outlier": "flag",
    "net_force": "flag",
    "net_force_outlier": "flag",
    "net_torque": "flag",
    "isolated_atoms": "flag",
    "volume_outlier": "flag",
    "distance_outlier": "flag",
}
"""By kind of finding; a recipe may say otherwise."""

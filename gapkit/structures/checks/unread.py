"""Labels that lie there unread: under another name, or the other of two energies."""

from __future__ import annotations

from collections import defaultdict

from gapkit.structures.batch import AtomsBatch
from gapkit.structures.checks import Fault

_SHOWN = 4  # names in a message
_LABELS = {
    "energy": ("an energy", "one number"),
    "forces": ("forces", "(n_atoms, 3)"),
    "virial": ("stress or virial", "6 or 9 numbers"),
}


def unread_labels(batch: AtomsBatch) -> list[Fault]:
    """Entries that have the shape of a label which their frames lack."""
    found = []
    for label, (title, shape) in _LABELS.items():
        frames: dict[str, list[int]] = defaultdict(list)
        likely = set()
        for frame, entries in enumerate(batch.all_labels.unread):
            for entry in entries:
                if entry.label == label:
                    frames[entry.key].append(frame)
                    likely |= {entry.key} if entry.likely else set()
        # A scalar may be anything: one whose name tells nothing counts only where there is no energy at all.
        if likely or (label == "energy" and batch.all_labels.has_energy.any()):
            frames = {key: those for key, those in frames.items() if key in likely}
        if not frames:
            continue
        keys = sorted(frames, key=lambda key: -len(frames[key]))[:_SHOWN]
        names = ", ".join(f"`{key}`" for key in keys)
        message = (
            f"frames without {title} hold {names}, which {'has' if len(keys) == 1 else 'have'} the shape of one "
            f"({shape}); {_remedy(label, keys[0])}"
        )
        found.append(Fault("unread_labels", tuple(sorted({f for key in keys for f in frames[key]})), message))
    return found + _two_energies(batch)


def unread_hint(batch: AtomsBatch) -> str:
    """Names that labels looked for in vain may have, for the end of a message; empty where nothing is like one."""
    return "".join(f"; {fault.message}" for fault in unread_labels(batch) if fault.kind == "unread_labels")


def _remedy(label: str, key: str) -> str:
    option = "stress" if label == "virial" and "stress" in key.lower() else label
    text = f'--{option}-key {key} reads it (LabelKeys({option}="{key}"))'
    if label == "forces" and "grad" in key.lower():
        return f"{text}, but forces are the negative of a gradient"
    return text


def _two_energies(batch: AtomsBatch) -> list[Fault]:
    every = enumerate(batch.all_labels.unread)
    others = [(frame, entry) for frame, entries in every for entry in entries if entry.label == "free_energy"]
    if not others:
        return []
    largest = max(entry.differs for _, entry in others)
    message = (
        f"`energy` is used, and `free_energy` differs from it by up to {largest:.2g} eV/atom; forces are "
        "derivatives of the free energy if electrons are smeared: --energy-key free_energy reads it "
        '(LabelKeys(energy="free_energy"))'
    )
    return [Fault("two_energies", tuple(frame for frame, _ in others), message)]

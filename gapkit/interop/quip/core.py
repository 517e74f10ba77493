"""The core potential of a `Sum`: QUIP's Glue model, as far as it is a pair potential."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from gapkit.exceptions import InputError, ModelFileError
from gapkit.interop.quip.file import GapFile
from gapkit.interop.quip.options import Options
from gapkit.terms.pairs import PairTable, PairTables

# A slope as large as this at the end of a table stands for "second derivative zero".
NATURAL = 1e30


def read_core(file: GapFile) -> PairTables | None:
    """The core potential as an energy term, None where there is none; InputError if it has more than pair tables."""
    if file.core is None:
        return None
    kind, *words = file.core.split(maxsplit=1)
    rest = Options.parse(*words) if kind == "IP" and words else None
    if rest is None or rest.name != "Glue" or set(rest.values) - {"label"}:
        raise InputError(f"the core potential {file.core!r} cannot be read; gapkit has the pair tables of `IP Glue`")
    label = rest.values.get("label")
    found = [g for g in file.root.iter("Glue_params") if label is None or g.get("label") == label]
    if len(found) != 1:
        raise ModelFileError(f"`{file.path}` must hold one <Glue_params> for its core potential, found {len(found)}")
    if any(float(p.get("E", "nan")) != 0.0 for p in found[0].findall(".//per_type_data/potential_density/point")):
        raise InputError("the core potential has an embedding energy (potential_density); gapkit has pair tables only")
    types = {item.get("type", ""): int(item.get("atomic_num", "0")) for item in found[0].iter("per_type_data")}
    return PairTables([_table(item, types) for item in found[0].iter("per_pair_data")])


def _table(item: Element, types: dict[str, int]) -> PairTable:
    table = item.find("potential_pair")
    if table is None:
        raise ModelFileError("<per_pair_data> of the core potential lacks <potential_pair>; copy the file again")
    unknown = (set(item.keys()) - {"type1", "type2"}) | (set(table.keys()) - {"num_points", "y1", "yn"})
    if unknown:
        raise InputError(f"the core potential has {', '.join(sorted(unknown))}, which gapkit does not know")
    try:
        species = [types[item.get(key, "")] for key in ("type1", "type2")]
        points = sorted((float(p.attrib["r"]), float(p.attrib["E"])) for p in table.findall("point"))
        ends = [float(table.get(key, "1e50")) for key in ("y1", "yn")]
    except (KeyError, ValueError) as error:
        raise ModelFileError(f"a pair table of the core potential is not complete ({error}); copy it again") from None
    slopes = [None if abs(end) > NATURAL else end for end in ends]
    return PairTable(species, [r for r, _ in points], [energy for _, energy in points], slopes)

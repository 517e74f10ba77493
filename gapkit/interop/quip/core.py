"""The core potential of a gap.xml, QUIP's Glue without embedding energy, as pair tables."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from xml.etree.ElementTree import Element

from gapkit.exceptions import InputError, ModelFileError
from gapkit.interop.quip.declared import element, number, read, whole, words
from gapkit.interop.quip.file import GapFile
from gapkit.interop.quip.options import pairs
from gapkit.printing import quoted
from gapkit.terms import PairTable, PairTables

# A slope as large as this at the end of a table stands for "second derivative zero".
NATURAL = 1e30
_MAX_POINTS = 100_000


@dataclass(frozen=True)
class _Glue:
    n_types: int = whole(low=1, high=118)
    label: str = words("")


@dataclass(frozen=True)
class _Type:
    atomic_num: int = element()
    type: int = whole(low=1, high=118)


@dataclass(frozen=True)
class _Pair:
    type1: int = whole(low=1, high=118)
    type2: int = whole(low=1, high=118)


@dataclass(frozen=True)
class _Table:
    """Of `potential_pair`, and of `potential_density`; slopes that are left out are 0 in QUIP."""

    num_points: int = whole(low=2, high=_MAX_POINTS)
    y1: float = number(0.0, low=-NATURAL, unit="eV/Å")
    yn: float = number(0.0, low=-NATURAL, unit="eV/Å")

    @property
    def slopes(self) -> tuple[float | None, float | None]:
        """At the first and the last distance; None: the second derivative is zero there."""
        return None if self.y1 > NATURAL else self.y1, None if self.yn > NATURAL else self.yn


@dataclass(frozen=True)
class _PairPoint:
    r: float = number(low=0.0, above=True, high=1e3, unit="Å")
    E: float = number(low=-1e15, high=1e15, unit="eV")


@dataclass(frozen=True)
class _Embedding:
    rho: float = number()
    E: float = number(unit="eV")


@dataclass(frozen=True, eq=False)
class Glue:
    """One <Glue_params>."""

    root: Element
    where: str  # for messages

    @classmethod
    def of(cls, file: GapFile) -> Glue | None:
        """That of a file, None where there is no core potential; InputError for any other potential."""
        if file.core is None:
            return None
        kind, *rest = file.core.split(maxsplit=2)
        if kind.upper() != "IP" or not rest or rest[0].upper() != "GLUE":
            raise InputError(
                f"the core potential {quoted(file.core)} cannot be read; gapkit has the tables of `IP Glue`"
            )
        label = pairs(rest[1]).get("label") if len(rest) == 2 else None
        found = [g for g in file.root.iter("Glue_params") if label is None or g.get("label") == label]
        where = f"the core potential of `{file.path}`"
        if len(found) != 1:
            raise ModelFileError(f"{where} must have one <Glue_params>, found {len(found)}; copy the file again")
        return cls(found[0], where)

    @cached_property
    def types(self) -> dict[int, tuple[int, Element]]:
        """Atomic number and element by type."""
        declared = read(_Glue, self.root.attrib, f"<Glue_params> of {self.where}", ignored=("cutoff",))
        items = self.root.findall("per_type_data")
        owns = [read(_Type, item.attrib, f"<per_type_data> of {self.where}") for item in items]
        if sorted(own.type for own in owns) != list(range(1, declared.n_types + 1)):
            raise ModelFileError(
                f"<per_type_data> of {self.where} must be of the types 1 to {declared.n_types}, each once"
            )
        return {own.type: (own.atomic_num, item) for own, item in zip(owns, items, strict=True)}

    @cached_property
    def pairs(self) -> list[tuple[tuple[int, int], Element]]:
        """Atomic numbers and element of every table."""
        found = []
        for item in self.root.findall("per_pair_data"):
            own = read(_Pair, item.attrib, f"<per_pair_data> of {self.where}")
            if not {own.type1, own.type2} <= self.types.keys():
                raise ModelFileError(
                    f"a pair table of {self.where} is of a type without <per_type_data>; copy it again"
                )
            found.append(((self.types[own.type1][0], self.types[own.type2][0]), item))
        return found

    def species(self) -> set[int]:
        """Elements that have a pair table."""
        return {z for pair, _ in self.pairs for z in pair}

    def tables(self, species: Collection[int]) -> PairTables:
        """The tables of pairs of `species`; InputError if one of these has an embedding energy."""
        for z, item in self.types.values():
            if z in species:
                self._check_embedding(item, z)
        made = []
        for pair, item in self.pairs:
            if not set(pair) <= set(species):
                continue
            where = f"the pair table {pair[0]}-{pair[1]} of {self.where}"
            table = item.find("potential_pair")
            if table is None:
                raise ModelFileError(f"{where} lacks <potential_pair>; copy the file again")
            own = read(_Table, table.attrib, where)
            found = sorted((p.r, p.E) for p in _points(table, own, _PairPoint, where))
            r, energies = zip(*found, strict=True)
            made.append(PairTable(pair, list(r), list(energies), own.slopes))
        return PairTables(made)

    def _check_embedding(self, item: Element, z: int) -> None:
        where = f"the embedding energy (potential_density) of element {z} of {self.where}"
        table = item.find("potential_density")
        if table is None:
            raise ModelFileError(f"{where} is missing; copy the file again")
        own = read(_Table, table.attrib, where)
        values = [p.E for p in _points(table, own, _Embedding, where)]
        if any(values) or any(slope for slope in own.slopes):
            raise InputError(f"{where} is not zero; gapkit has pair tables only")


def _points(table: Element, own: _Table, cls: type, where: str) -> list:
    found = table.findall("point")
    if len(found) != own.num_points:
        raise ModelFileError(f"{where} announces {own.num_points} points and holds {len(found)}; copy the file again")
    return [read(cls, point.attrib, f"<point> of {where}") for point in found]

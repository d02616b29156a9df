"""Which system holds a number of classes: the smallest member of each family, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log10

from rootspace.systems.base import VectorSystem
from rootspace.systems.planning import measures
from rootspace.systems.planning.bounds import Bounds
from rootspace.systems.planning.catalogue import OTHERS, candidate, check_name, members_within

#: The families with a free dimension that a plan compares unless told otherwise.
FAMILIES = ("A", "V21", "V22", "V33", "D", "W3", "W4", "dense")

#: The kinds of few sizes (`catalogue.OTHERS`) are compared too, unless told otherwise, up to so many dimensions.
UNASKED_DIM = 10_000


class InfeasibleError(ValueError):
    """No system compared meets every limit. The attributes say what would do, each limit relaxed alone.

    dim: the least dimension that would do; max_cosine: the least largest cosine; n_classes: the most classes within
    the limits. None where relaxing that one alone does not help, or where it was no limit.
    """

    def __init__(
        self, message: str, dim: int | None = None, max_cosine: float | None = None, n_classes: int | None = None
    ) -> None:
        super().__init__(message)
        self.dim, self.max_cosine, self.n_classes = dim, max_cosine, n_classes


@dataclass(frozen=True)
class Option:
    """One family's smallest system for a number of classes.

    on_front: whether no other option of the plan has at most its dimension and at most its largest cosine, and less of
    one of them.
    """

    family: str
    system: VectorSystem
    n_classes: int
    on_front: bool = False

    @property
    def fill(self) -> float:
        """The share of the system's vectors that the classes use."""
        return self.n_classes / self.system.size

    @property
    def bits(self) -> float:
        """log2 of the system's size: what it takes to name a class's vector."""
        return self.system.bits

    @cached_property
    def bounds(self) -> Bounds:
        """The bounds for this many vectors in this dimension, whatever their arrangement."""
        return Bounds(self.system.dim, self.system.size)

    @property
    def gap(self) -> float:
        """The largest cosine less the best lower bound: 0 if no arrangement of as many vectors is better."""
        return self.system.max_cosine - self.bounds.lower

    @cached_property
    def neighbours(self) -> int | float | None:
        """How many vectors lie at the largest cosine from one; None where counting them is not cheap."""
        return measures.neighbours(self.system)

    @property
    def decode_cost(self) -> int | None:
        """Operations to decode one embedding; see `measures.decode_cost`."""
        return measures.decode_cost(self.system)

    @property
    def log_partition_cost(self) -> int | None:
        """Operations of the softmax over the whole system; see `measures.log_partition_cost`."""
        return measures.log_partition_cost(self.system)

    def to_dict(self) -> dict[str, object]:
        """The option as JSON values; the size is a string, as JSON numbers may lose digits."""
        return {
            "family": self.family,
            "spec": self.system.spec,
            "n_min": self.system.dim,
            "size": str(self.system.size),
            "fill": self.fill,
            "max_cosine": self.system.max_cosine,
            "mcs": self.system.mcs,
            "neighbours": self.neighbours,
            "bits": self.bits,
            "decode_cost": self.decode_cost,
            "log_partition_cost": self.log_partition_cost,
            "lower_bound": self.bounds.lower,
            "lower_bound_name": self.bounds.best,
            "random_coding": self.bounds.random_coding,
            "gap": self.gap,
            "on_front": self.on_front,
        }


def plan(
    n_classes: int, families: Sequence[str] | None = None, *, max_cosine: float | None = None, dim: int | None = None
) -> list[Option]:
    """The smallest system of each family that holds n_classes vectors, smallest dimension first.

    families: which to compare, by default `FAMILIES` and what `catalogue.OTHERS` has for so many classes; max_cosine:
    leave out systems with a closer pair; dim: leave out systems of more dimensions. The options on the Pareto front of
    dimension against separation are marked.

    Raises `ValueError` for an unknown family, fewer than one class or limits that make no sense, and
    `InfeasibleError` if no system is left: it says which limit to relax and by how much.

    >>> [(option.system.spec, round(option.fill, 2)) for option in plan(600_000, ["V22", "V21", "A"])]
    [('V22:41', 0.99), ('V21:108', 0.98), ('V11:776', 1.0)]
    >>> plan(600_000, ["V22", "A"], max_cosine=0.6, dim=500)
    Traceback (most recent call last):
    rootspace.systems.planning.planner.InfeasibleError: no system holds 600,000 classes in at most 500 dimensions with \
a largest cosine of at most 0.6; allow 776 dimensions, 276 more (V11:776), or a largest cosine of 0.75, 0.15 more \
(V22:41), or at most 249,500 classes (V11:500), or take family eBCH64 (eBCH(64,24) fits)
    """
    _check_limits(max_cosine, dim)
    if families is not None and not families:
        raise ValueError("name at least one family, or leave families out for the usual ones")
    found = _options(n_classes, families)
    if not found:
        raise _too_few(n_classes, families or ())
    within = [option for option in found if _fits(option.system, max_cosine, dim)]
    if not within:
        raise _infeasible(n_classes, families, found, max_cosine, dim)
    front = {id(option) for option in pareto(within)}
    marked = [replace(option, on_front=id(option) in front) for option in within]
    return sorted(marked, key=lambda option: (option.system.dim, option.system.max_cosine))


def pareto(options: Iterable[Option]) -> list[Option]:
    """The options that no other beats in dimension and largest cosine, smallest dimension first.

    >>> [option.family for option in pareto(plan(600_000))]
    ['dense', 'V33', 'halfcube', 'eBCH32', 'eBCH64', 'Kerdock']
    """
    front: list[Option] = []
    for option in sorted(options, key=lambda option: (option.system.dim, option.system.max_cosine)):
        last = front[-1].system if front else None
        same = last is not None and (last.dim, last.max_cosine) == (option.system.dim, option.system.max_cosine)
        if last is None or option.system.max_cosine < last.max_cosine or same:
            front.append(option)
    return front


def _options(n_classes: int, families: Sequence[str] | None) -> list[Option]:
    names = list(dict.fromkeys((*FAMILIES, *OTHERS) if families is None else families))
    for name in names:
        check_name(name)
    members = [(name, candidate(name, n_classes)) for name in names]
    return [
        Option(name, system, n_classes)
        for name, system in members
        if system is not None and (families is not None or name in FAMILIES or system.dim <= UNASKED_DIM)
    ]


def _too_few(n_classes: int, families: Sequence[str]) -> InfeasibleError:
    """No family asked for has a member so large: they are kinds of fixed sizes."""
    members = [system for name in families for system in members_within(name, 10**6)]
    largest = max(members, key=lambda system: system.size)
    return InfeasibleError(
        f"{', '.join(families)}: no member has {n_classes:,} vectors; "
        f"allow at most {readable_size(largest.size)} classes ({largest.spec}), or take a family such as V22",
        n_classes=largest.size,
    )


def _fits(system: VectorSystem, max_cosine: float | None, dim: int | None) -> bool:
    # a limit of 0.6666667 is meant to let 2/3 pass
    return (dim is None or system.dim <= dim) and (max_cosine is None or system.max_cosine <= max_cosine + 1e-6)


def _check_limits(max_cosine: float | None, dim: int | None) -> None:
    if max_cosine is not None and not -1 <= max_cosine <= 1:
        raise ValueError(f"max_cosine lies in [-1, 1], got {max_cosine}")
    if dim is not None and dim < 1:
        raise ValueError(f"dim is a positive number, got {dim}")


def _infeasible(
    n_classes: int, families: Sequence[str] | None, found: list[Option], max_cosine: float | None, dim: int | None
) -> InfeasibleError:
    """The error that says what would do. `found`: each family's smallest system, whether it fits or not."""
    limits, ways = [], []
    wider = steeper = fewer = None
    if dim is not None:
        limits.append(f"in at most {dim:,} dimensions")
        fitting = [option.system for option in found if _fits(option.system, max_cosine, None)]
        if fitting:
            wider = min(fitting, key=lambda system: system.dim)
            ways.append(f"allow {wider.dim:,} dimensions, {wider.dim - dim:,} more ({wider.spec})")
    if max_cosine is not None:
        limits.append(f"with a largest cosine of at most {max_cosine:g}")
        fitting = [option.system for option in found if _fits(option.system, None, dim)]
        if fitting:
            steeper = min(fitting, key=lambda system: system.max_cosine)
            more = steeper.max_cosine - max_cosine
            ways.append(f"a largest cosine of {steeper.max_cosine:.4g}, {more:.4g} more ({steeper.spec})")
    if dim is not None and max_cosine is not None and not ways:
        both = min((option.system for option in found), key=lambda system: system.dim)
        ways.append(
            f"allow {both.dim:,} dimensions, {both.dim - dim:,} more, and a largest cosine of {both.max_cosine:.4g}, "
            f"{both.max_cosine - max_cosine:.4g} more ({both.spec})"
        )
    if dim is not None:
        names = {option.family for option in found} if families is not None else {*FAMILIES, *OTHERS}
        members = [system for name in sorted(names) for system in members_within(name, dim)]
        members = [system for system in members if _fits(system, max_cosine, dim)]
        if members:
            fewer = max(members, key=lambda system: system.size)
            ways.append(f"at most {readable_size(fewer.size)} classes ({fewer.spec})")
    tried = {option.family for option in found}
    for name in (*FAMILIES, *OTHERS):
        if name not in tried and (other := candidate(name, n_classes)) and _fits(other, max_cosine, dim):
            ways.append(f"take family {name} ({other.spec} fits)")
            break
    message = f"no system holds {n_classes:,} classes {' '.join(limits)}"
    if dim is not None and max_cosine is not None and (dim > 1 or n_classes <= 2) and n_classes > 1:
        best = Bounds(dim, n_classes).lower
        if best > max_cosine:
            message += f", and no vectors do: their largest cosine is at least {best:.4g}"
    if ways:
        ways[0] = ways[0] if ways[0].startswith(("allow", "take")) else f"allow {ways[0]}"
        message += "; " + ", or ".join(ways)
    else:
        message += f"; try other families than {', '.join(sorted(tried))}"
    return InfeasibleError(
        message,
        dim=wider.dim if wider else None,
        max_cosine=steeper.max_cosine if steeper else None,
        n_classes=fewer.size if fewer else None,
    )


def readable_size(size: int) -> str:
    """A size for a table: exact with separators up to 10^12, then as a power of ten.

    >>> readable_size(607_620), readable_size(10**30)
    ('607,620', '1.0e30')
    """
    if size < 10**12:
        return f"{size:,}"
    exponent = int(log10(size))
    return f"{size // 10 ** (exponent - 1) / 10:.1f}e{exponent}"

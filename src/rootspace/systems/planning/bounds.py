"""How well N vectors of R^n can be separated at best: bounds on the largest cosine between two different ones.

A *lower* bound says that no N unit vectors, however chosen, have a smaller largest cosine. The random-coding bound
says the opposite: some N vectors reach it. Sizes are Python integers of any magnitude; logarithms of volumes are
computed, never the volumes, so that N = 10^40 costs what N = 10 costs.

Sources: R. A. Rankin, *The closest packing of spherical caps in n dimensions* (1955). V. I. Levenshtein, *Universal
bounds for codes and designs*, in Handbook of Coding Theory (1998). L. R. Welch, *Lower bounds on the maximum cross
correlation of signals* (1974), in the form of V. M. Sidelnikov (1974) for real vectors. G. A. Kabatiansky and
V. I. Levenshtein, *Bounds for packings on a sphere and in space* (1978). C. E. Shannon (1959), C. Chabauty (1953),
A. D. Wyner (1965): random and greedy coding on the sphere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import acos, comb, cos, exp, expm1, inf, lgamma, log, log1p, log2, pi, sin

#: Levenshtein's polynomials are used up to this degree. Beyond it his bound for the largest size that this degree
#: covers is given: still a bound, no longer his best; only few dimensions (n < 10) with many vectors come so far.
MAX_DEGREE = 400

#: Below this angle (62.9974 degrees) the rate of Kabatiansky and Levenshtein is improved by comparing caps.
_KL_ANGLE = 1.0995124


@dataclass(frozen=True)
class Bounds:
    """The bounds on the largest cosine between two of `size` vectors in `dim` dimensions.

    >>> found = Bounds(8, 240)
    >>> round(found.levenshtein, 9), round(found.sphere_packing, 3), round(found.random_coding, 3)
    (0.5, 0.308, 0.808)
    """

    dim: int
    size: int

    def __post_init__(self) -> None:
        _check(self.dim, self.size)

    @cached_property
    def rankin(self) -> float:
        """`rankin(dim, size)`."""
        return rankin(self.dim, self.size)

    @cached_property
    def levenshtein(self) -> float:
        """`levenshtein(dim, size)`."""
        return levenshtein(self.dim, self.size)

    @cached_property
    def sphere_packing(self) -> float:
        """`sphere_packing(dim, size)`."""
        return sphere_packing(self.dim, self.size)

    @cached_property
    def random_coding(self) -> float:
        """`random_coding(dim, size)`."""
        return random_coding(self.dim, self.size)

    @cached_property
    def asymptotic(self) -> float:
        """`kabatiansky_levenshtein(dim, size)`: holds as the dimension grows, so it is no part of `lower`."""
        return kabatiansky_levenshtein(self.dim, self.size)

    @property
    def lower(self) -> float:
        """The best lower bound: no `size` vectors have a smaller largest cosine."""
        return max(self.rankin, self.levenshtein, self.sphere_packing)

    @property
    def best(self) -> str:
        """Which bound `lower` is: "rankin", "levenshtein" or "sphere_packing"."""
        return max(("rankin", "levenshtein", "sphere_packing"), key=lambda name: getattr(self, name))

    @cached_property
    def upper(self) -> float:
        """The best cosine known to be reached from these bounds alone: random coding, simplex, orthoplex, polygon."""
        # a polygon lies in a plane of any space; its cosine rounds to 1 long before a float cannot hold the size
        polygon = cos(2 * pi / min(self.size, 10**300))
        if self.dim == 2:
            return polygon
        simple = self.rankin if self.size <= 2 * self.dim else 1.0
        return min(simple, polygon, self.random_coding)

    def to_dict(self) -> dict[str, float | str]:
        """All of them by name."""
        names = ("lower", "best", "upper", "rankin", "levenshtein", "sphere_packing", "random_coding", "asymptotic")
        return {name: getattr(self, name) for name in names}


def bounds(dim: int, size: int) -> Bounds:
    """All bounds for `size` vectors in `dim` dimensions.

    >>> round(bounds(41, 607_620).lower, 3), round(bounds(41, 607_620).upper, 3)
    (0.368, 0.649)
    """
    return Bounds(dim, size)


def rankin(dim: int, size: int) -> float:
    """The largest cosine is at least -1/(N-1); for more than n + 1 vectors at least 0 (Rankin 1955).

    The first is reached by the simplex (N <= n + 1), the second by the orthoplex (N <= 2n).

    >>> rankin(4, 5), rankin(4, 8)
    (-0.25, 0.0)
    """
    _check(dim, size)
    return -1 / (size - 1) if size <= dim + 1 else 0.0


def welch(dim: int, lines: int) -> float:
    """The least possible largest |cosine| between different ones of N lines through 0: a bound on `mcs`.

    The best order k of Welch's bound, with Sidelnikov's moments of the sphere in place of the complex ones:
    max |cos|^2k >= (N m_k - 1)/(N - 1) with m_k = 1·3·…·(2k-1) / (n(n+2)…(n+2k-2)). It is about lines: a system
    that contains the opposite of each of its vectors has half as many lines as vectors, and for `max_cosine`, which
    opposite vectors do not spoil, it says nothing.

    >>> round(welch(3, 6), 6), round(welch(8, 120), 6)  # the lines of the icosahedron (reached) and of E8 (1/2)
    (0.447214, 0.440971)
    """
    _check(dim, max(lines, 2))
    if lines <= dim:
        return 0.0
    if dim == 1:
        return 1.0
    best, log_moment, log_lines, falling = 0.0, 0.0, log(lines), 0
    for order in range(1, 1001):
        log_moment += log((2 * order - 1) / (dim + 2 * order - 2))
        excess = log_lines + log_moment
        if excess <= 0:
            break
        value = exp((log(expm1(excess)) if excess < 30 else excess) / (2 * order) - log(lines - 1) / (2 * order))
        falling = falling + 1 if value < best else 0
        best = max(best, value)
        if falling > 20:
            break
    return min(best, 1.0)


# ------------------------------------------------------------------ Levenshtein


def levenshtein(dim: int, size: int) -> float:
    """Levenshtein's bound, by linear programming: the cosine s at which his bound on the size, L(n, s), equals N.

    Exact for the simplex, polygons, the orthoplex, the icosahedron, E8, the Leech lattice's shell and every other
    sharp code. See `MAX_DEGREE` for very many vectors in very few dimensions.

    >>> [round(levenshtein(*code), 9) for code in ((3, 12), (7, 56), (8, 240), (24, 196_560))]
    [0.447213595, 0.333333333, 0.5, 0.5]
    """
    _check(dim, size)
    return _levenshtein(dim, size)


@lru_cache(maxsize=4096)
def _levenshtein(dim: int, size: int) -> float:
    if dim == 1:
        return -1.0
    if dim == 2:
        return cos(2 * pi / size)  # where the bound is reached by the polygon, at any degree
    degree, covered = _degree(dim, size)
    if covered:
        return _node(dim, degree)
    low, high = _node(dim, degree), _node(dim, degree + 1)
    target = size / _scale(dim, degree)
    return _rising(lambda s: _ratio(dim, degree, s), target, low, high)


def levenshtein_size(dim: int, cosine: float) -> float:
    """Levenshtein's bound on how many vectors of R^n can have no cosine above `cosine` between two of them.

    `inf` where polynomials above `MAX_DEGREE` would be needed, and for a cosine of 1. Raises `ValueError` for a
    cosine outside [-1, 1], `OverflowError` for a size no float holds.

    >>> [round(levenshtein_size(n, 0.5)) for n in (3, 4, 8, 24)]  # 12, 24, 240 and 196,560 are the kissing numbers
    [13, 26, 240, 196560]
    """
    _check(dim, 2)
    if not -1 <= cosine <= 1:
        raise ValueError(f"a cosine lies in [-1, 1], got {cosine}")
    if cosine == -1 or dim == 1:
        return 2.0
    if dim == 2:
        return inf if cosine == 1 else 2 * pi / acos(cosine)
    for degree in range(1, MAX_DEGREE + 1):
        if cosine <= _node(dim, degree + 1):
            return _ratio(dim, degree, cosine) * float(_scale(dim, degree))
    return inf


def _degree(dim: int, size: int) -> tuple[int, bool]:
    """The degree m whose L_m reaches N, and whether its lower end is the answer: N sits on it, or m is the limit.

    L_m runs from D(n, m) to D(n, m + 1), the least sizes of spherical designs of these strengths (Delsarte, Goethals,
    Seidel): D(n, 2k - 1) = 2 C(n+k-2, n-1) and D(n, 2k) = C(n+k-1, n-1) + C(n+k-2, n-1).
    """
    degree, k, binomial = 1, 1, 1  # binomial: C(n + k - 2, n - 1)
    while degree < MAX_DEGREE:
        following = binomial * (dim + k - 1) // k
        if size <= binomial + following:
            return (degree, False) if size < binomial + following else (degree + 1, True)
        if size <= 2 * following:
            return (degree + 1, False) if size < 2 * following else (degree + 2, True)
        degree, k, binomial = degree + 2, k + 1, following
    return degree, True


def _scale(dim: int, degree: int) -> int:
    """The binomial coefficient before the bracket of L_m."""
    k = (degree + 1) // 2
    return comb(k + dim - 3, k - 1) if degree % 2 else comb(k + dim - 2, k)


def _ratio(dim: int, degree: int, s: float) -> float:
    """L_m(n, s) without its binomial coefficient, for s between the nodes of m and m + 1."""
    k = (degree + 1) // 2
    if degree % 2:
        before, here = _gegenbauer(dim, k, s)
        return (2 * k + dim - 3) / (dim - 1) - (before / here - 1) / (1 - s)
    here, after = _gegenbauer(dim, k + 1, s)
    return (2 * k + dim - 1) / (dim - 1) - (1 + s) * (here - after) / ((1 - s) * (here + after))


def _gegenbauer(dim: int, k: int, s: float) -> tuple[float, float]:
    """P_{k-1}(s) and P_k(s), the polynomials orthogonal on the sphere in R^n, up to one common positive factor."""
    before, here = 1.0, s
    for j in range(1, k):
        before, here = here, ((2 * j + dim - 2) * s * here - j * before) / (j + dim - 2)
        if abs(before) + abs(here) < 1e-140:
            before, here = before * 1e140, here * 1e140
    return before, here


@lru_cache(maxsize=16384)
def _node(dim: int, degree: int) -> float:
    """Where L_m takes over from L_{m-1}: the largest zero of a Jacobi polynomial, (1, 1) or (1, 0) above Gegenbauer."""
    if degree == 1:
        return -1.0
    base = (dim - 3) / 2
    return _largest_zero(degree // 2, base + 1, base + (degree % 2))


def _largest_zero(k: int, a: float, b: float) -> float:
    """The largest zero of the Jacobi polynomial P_k^(a, b).

    x lies above it exactly if all ratios p_{j+1}/p_j of the monic polynomials are positive there (a Sturm sequence).
    """
    centres = [(b - a) / (a + b + 2)]
    weights = [0.0]
    for j in range(1, k):
        t = 2 * j + a + b
        centres.append((b * b - a * a) / (t * (t + 2)))
        # for j = 1 the factor (a + b + 1) stands above and below
        rest = 1.0 if j == 1 else (j + a + b) / (t - 1)
        weights.append(4 * j * (j + a) * (j + b) * rest / (t * t * (t + 1)))

    def above(x: float) -> bool:
        ratio = 1.0
        for centre, weight in zip(centres, weights, strict=True):
            ratio = x - centre - weight / ratio
            if ratio <= 0:
                return False
        return True

    low, high = -1.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        low, high = (low, middle) if above(middle) else (middle, high)


# ------------------------------------------------------------------ caps


def sphere_packing(dim: int, size: int) -> float:
    """The caps of half the smallest angle around the N vectors do not overlap, so together they fit on the sphere.

    >>> round(sphere_packing(3, 12), 4)  # the icosahedron has 0.4472
    0.3889
    """
    _check(dim, size)
    return -1.0 if dim == 1 else cos(2 * cap_angle(dim, -log(size)))


def random_coding(dim: int, size: int) -> float:
    """Some N vectors have no larger cosine than this: caps of the smallest angle around N - 1 of them leave room.

    As long as (N - 1) caps of an angle do not cover the sphere, one more vector can be added at that angle (Shannon,
    Chabauty, Wyner; the sphere's Gilbert-Varshamov bound). It is an existence proof and builds nothing.

    >>> round(random_coding(8, 240), 3)
    0.808
    """
    _check(dim, size)
    return -1.0 if size == 2 else cos(cap_angle(dim, -log(size - 1)))


def log_cap(dim: int, angle: float) -> float:
    """log of the share of the sphere in R^n that lies within `angle` (0 < angle <= pi/2) of a point.

    >>> round(exp(log_cap(3, pi / 3)), 6)
    0.25
    """
    _check(dim, 2)
    if not 0 < angle <= pi / 2:
        raise ValueError(f"a cap's angle lies in (0, pi/2], got {angle}")
    a, x, y = (dim - 1) / 2, sin(angle) ** 2, cos(angle) ** 2
    log_x = log1p(-y) if y < 0.5 else log(x)
    if y == 0 or dim == 1:
        return log(0.5)
    # the regularised incomplete beta function I_x(a, 1/2) over 2, from the side where its fraction converges fast
    front = a * log_x + 0.5 * log(y) - _log_beta_half(a)
    if x < (a + 1) / (a + 2.5):
        return front - log(2 * a) + log(_beta_fraction(a, 0.5, x))
    return log(0.5) + log1p(-exp(front) * _beta_fraction(0.5, a, y) / 0.5)


@lru_cache(maxsize=4096)
def cap_angle(dim: int, log_share: float) -> float:
    """The angle in (0, pi/2] of a cap with a given log of its share of the sphere, at most log(1/2)."""
    if log_share >= log(0.5) - 1e-15:
        return pi / 2
    if dim == 2:
        return pi * exp(log_share)
    return _rising(lambda angle: log_cap(dim, angle), log_share, 0.0, pi / 2)


def _log_beta_half(a: float) -> float:
    """log B(a, 1/2) = log of Gamma(a) Gamma(1/2) / Gamma(a + 1/2)."""
    if a < 50:
        return lgamma(a) + 0.5 * log(pi) - lgamma(a + 0.5)
    # the difference of two large lgamma loses digits: the asymptotic series of the quotient
    t = 1 / a
    series = 1 - t / 8 + t**2 / 128 + 5 * t**3 / 1024 - 21 * t**4 / 32768 - 399 * t**5 / 262144
    return 0.5 * log(pi) - 0.5 * log(a) - log(series)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 100_000):
        for step in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                     -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):  # fmt: skip
            d = 1 / ((1 + step * d) or tiny)
            c = (1 + step / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _rising(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where a rising function takes a value, by bisection down to neighbouring floats."""
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        low, high = (middle, high) if function(middle) < target else (low, middle)


# ------------------------------------------------------------------ the asymptotic rate


def kabatiansky_levenshtein_rate(cosine: float) -> float:
    """At most how many bits a dimension, log2(N)/n, a code of this largest cosine has as n grows.

    Asymptotic: terms that vanish with n are left out, so at a fixed n it is no bound. 0 for a cosine up to 0.

    >>> round(kabatiansky_levenshtein_rate(0.5), 3)  # kissing numbers grow as 2^(0.401 n) at most
    0.401
    """
    if not -1 <= cosine <= 1:
        raise ValueError(f"a cosine lies in [-1, 1], got {cosine}")
    if cosine <= 0:
        return 0.0
    if cosine == 1:
        return inf
    angle = acos(cosine)
    gain = 0.0
    if angle < _KL_ANGLE:  # cap a code of this angle to one of the critical angle
        gain = log2(sin(_KL_ANGLE / 2) / sin(angle / 2))
        angle = _KL_ANGLE
    plus, minus = (1 + sin(angle)) / (2 * sin(angle)), (1 - sin(angle)) / (2 * sin(angle))
    return gain + plus * log2(plus) - (minus * log2(minus) if minus else 0.0)


def kabatiansky_levenshtein(dim: int, size: int) -> float:
    """The cosine at which the rate of Kabatiansky and Levenshtein is log2(N)/n.

    Asymptotic: what the largest cosine tends to exceed when n grows at this rate, not a bound for this n.
    """
    _check(dim, size)
    rate = log2(size) / dim
    # the rate at the last float below 1 is some 26 bits a dimension
    if rate >= kabatiansky_levenshtein_rate(1 - 2**-52):
        return 1.0
    return _rising(kabatiansky_levenshtein_rate, rate, 0.0, 1 - 2**-53)


def _check(dim: int, size: int) -> None:
    if dim < 1:
        raise ValueError(f"dim is a positive number, got {dim}")
    if size < 2:
        raise ValueError(f"bounds are about two vectors or more, got size {size}")
    if dim == 1 and size > 2:
        raise ValueError(f"R^1 holds two directions, got size {size}")


def angle_between(cosine: float) -> float:
    """A cosine as an angle in degrees.

    >>> round(angle_between(0.5), 6)
    60.0
    """
    return acos(max(-1.0, min(1.0, cosine))) * 180 / pi


__all__ = [
    "MAX_DEGREE",
    "Bounds",
    "angle_between",
    "bounds",
    "cap_angle",
    "kabatiansky_levenshtein",
    "kabatiansky_levenshtein_rate",
    "levenshtein",
    "levenshtein_size",
    "log_cap",
    "random_coding",
    "rankin",
    "sphere_packing",
    "welch",
]

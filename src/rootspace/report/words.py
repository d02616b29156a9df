"""Numbers as people read them."""

from __future__ import annotations

import math

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def count(n: int) -> str:
    """A whole number: exact with separators up to 15 digits, else to two digits as a power of ten.

    >>> count(1234567), count(math.factorial(20) ** 3)
    ('1,234,567', '≈ 1.4 × 10⁵⁵')
    """
    if abs(n) < 10**15:
        return f"{n:,}"
    # from the bits, not from the decimals: those of a vast number take long
    shift = max(0, abs(n).bit_length() - 64)
    exponent = math.log10(abs(n) >> shift) + shift * math.log10(2)
    whole = math.floor(exponent)
    lead = round(10 ** (exponent - whole), 1)
    if lead >= 10:
        lead, whole = 1.0, whole + 1
    return f"≈ {lead:.1f} × 10{str(whole).translate(_SUPERSCRIPT)}"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage with one decimal.

    >>> percent(0.98449), percent(float("nan"))
    ('98.4 %', '–')
    """
    return f"{100 * share:.1f} %" if math.isfinite(share) else "–"


def duration(seconds: float) -> str:
    """Wall time.

    >>> duration(8.31), duration(83), duration(7300)
    ('8.3 s', '1 min 23 s', '2 h 1 min')
    """
    if not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def rate(per_second: float) -> str:
    """Things a second, to three digits.

    >>> rate(12345.6), rate(8.256)
    ('12,300', '8.26')
    """
    if not math.isfinite(per_second) or per_second <= 0:
        return "–"
    digits = 2 - math.floor(math.log10(per_second))
    return f"{round(per_second, digits):,.{max(0, digits)}f}"

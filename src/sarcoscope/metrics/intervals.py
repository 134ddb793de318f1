"""How sure a share can be, counted on a handful of slides."""

from math import sqrt

from sarcoscope.core.errors import InputError

_Z95 = 1.959963984540054
"""Standard normal quantile of 0.975."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a share, (low, high) in 0..1; (0, 1) where n is 0. Wilson 1927.

    Raises InputError where `successes` is not within 0..n.
    """
    if not 0 <= successes <= n:
        raise InputError(f"{successes} successes of {n}", "give a count between 0 and n")
    if n == 0:
        return 0.0, 1.0
    share, square = successes / n, _Z95 * _Z95
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _Z95 * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high

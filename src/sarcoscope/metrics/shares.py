"""So many of so many, with how sure that is."""

from sarcoscope.core.evaluation import Share
from sarcoscope.metrics.intervals import wilson_interval


def share(right: int, n: int) -> Share:
    """A share with Wilson's 95 % interval, (0, 1) where n is 0. Raises InputError where `right` is not within 0..n."""
    low, high = wilson_interval(right, n)
    return Share(right=right, n=n, low=low, high=high)

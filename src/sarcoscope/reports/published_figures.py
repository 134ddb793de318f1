"""The paper's printed slide counts, with the misprints that they hold; shown beside a sweep, never compared with.

Jiang Yongjun et al., Acta Sci. Nat. Univ. Sunyatseni 2025 (ZR20240309), tables 2 and 3. The slides are private: other
slides and scanners than ours. Counts are the sums of the printed class counts; where the overall column says
otherwise, both are kept.
"""

from dataclasses import dataclass
from typing import Final

SOURCE: Final = "Jiang Y. et al., Acta Sci. Nat. Univ. Sunyatseni 2025 (ZR20240309), tables 2 and 3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Slides right by one model of the paper on one of its test sets."""

    model: str
    test: str
    n: int
    original: int
    """By the vote, summed over the printed class counts."""
    refined: int
    printed_original: int
    """As the overall column has it."""
    printed_refined: int

    @property
    def misprint(self) -> str:
        """Where the overall column disagrees with the class counts, in words; empty where it does not."""
        found = []
        if self.printed_original != self.original:
            found.append(f"original printed {self.printed_original}")
        if self.printed_refined != self.refined:
            found.append(f"refined printed {self.printed_refined}")
        return ", ".join(found)


def _row(test: str, n: int, model: str, original: tuple[int, int], refined: tuple[int, int]) -> Published:
    """Each pair: sum of the class counts, overall as printed."""
    return Published(
        model=model,
        test=test,
        n=n,
        original=original[0],
        refined=refined[0],
        printed_original=original[1],
        printed_refined=refined[1],
    )


PUBLISHED: Final = (
    _row("test 1", 57, "EfficientNetB7", (40, 40), (44, 44)),
    _row("test 1", 57, "Ensemble", (43, 41), (44, 44)),
    _row("test 1", 57, "MultiV1", (45, 45), (52, 52)),
    _row("test 1", 57, "MultiV2", (46, 46), (50, 50)),
    _row("test 2", 42, "EfficientNetB7", (29, 29), (29, 29)),
    _row("test 2", 42, "Ensemble", (30, 30), (31, 30)),
    _row("test 2", 42, "MultiV1", (33, 33), (34, 34)),
    _row("test 2", 42, "MultiV2", (32, 32), (32, 32)),
)
MISPRINTS: Final = (
    "test 1, Ensemble, original: the class counts sum to 43 of 57, the overall column prints 41",
    "test 2, Ensemble, original: DDLPS 5 of 12 is 41.67%, printed 55.56%",
    "test 2, Ensemble, refined: the class counts sum to 31 of 42, the overall column prints 30",
    "test 2, Ensemble, refined: 30 of 42 is 71.43%, printed 73.81%, which is 31 of 42",
    "test 2, MultiV1, refined: DDLPS 8 of 12 is 66.67%, printed 58.33%",
)
"""Cells of tables 2 and 3 that disagree with their own counts."""

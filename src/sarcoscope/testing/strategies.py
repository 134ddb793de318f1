"""Hypothesis strategies for the nouns of geometry."""

from hypothesis import strategies as st

from sarcoscope.core.geometry import Box, Size


def sizes(longest: int = 64) -> st.SearchStrategy[Size]:
    """Sizes of 1 to `longest` px a side."""
    side = st.integers(1, longest)
    return st.builds(Size, side, side)


def boxes_around(size: Size, margin: int = 40) -> st.SearchStrategy[Box]:
    """Boxes in level-0 px that lie in, across the edge of, or beside a slide of `size`, at most `margin` px away."""
    return st.builds(
        Box,
        st.integers(-margin, size.width + margin),
        st.integers(-margin, size.height + margin),
        st.integers(1, size.width + margin),
        st.integers(1, size.height + margin),
    )


def boxes_inside(size: Size) -> st.SearchStrategy[Box]:
    """Boxes in level-0 px that lie wholly in a slide of `size`."""

    def at(corner: tuple[int, int]) -> st.SearchStrategy[Box]:
        left, top = corner
        return st.builds(
            Box, st.just(left), st.just(top), st.integers(1, size.width - left), st.integers(1, size.height - top)
        )

    return st.tuples(st.integers(0, size.width - 1), st.integers(0, size.height - 1)).flatmap(at)

"""What is known of a slide beforehand, for scoring."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The reference diagnosis of one slide."""

    label: str
    """Class code."""
    components: tuple[str, ...] = ()
    """Codes of further tumour components."""

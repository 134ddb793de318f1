"""What members, bundles, studies and classes may be called, so that a file or a column can carry the name anywhere."""

from typing import Final

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""Regular expression of all of a name."""
CODE: Final = r"[A-Za-z0-9][A-Za-z0-9_+-]*"
"""The same of a class's code."""

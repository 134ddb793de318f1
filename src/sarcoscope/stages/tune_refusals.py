"""Why a search is refused that only beginning it anew would help; all else that may be wrong leaves its trials be."""

from sarcoscope.core.errors import ArtifactError, InputError


class OtherSearchError(InputError):
    """The search of that name in the storage is of another config, other tiles or other weights."""


class OtherMemberError(ArtifactError):
    """A member of such a name is there that came of no trial of the search."""

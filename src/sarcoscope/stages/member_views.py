"""Members of a bundle as lookers at tiles: what each is shown, and what its predictions are known by."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sarcoscope.core.errors import InputError, SlideError, shown
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.formats.atomic import as_json
from sarcoscope.formats.bundle import Bundle, BundleMember
from sarcoscope.formats.predictions import store_key
from sarcoscope.inference.onnx import OnnxNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One member and what it is shown; equal graphs that are shown the same say the same, whatever they are called."""

    name: str
    graph_sha256: str
    mpp: float | None
    """um/px of what it is shown around a tile's centre; None for the tile itself."""
    classes: tuple[str, ...]

    @property
    def inputs(self) -> dict[str, Any]:
        """What its predictions depend on beside the slide and its tiling, as JSON values."""
        return {"graph_sha256": self.graph_sha256, "shown_mpp": self.mpp, "classes": list(self.classes)}

    def key(self, tiling: TilingConfig) -> str:
        """Name of its folder in the store, for tiles cut like this."""
        return store_key(self.inputs | {"tiling": as_json(asdict(tiling))})


def views_of(bundle: Bundle) -> tuple[MemberView, ...]:
    """By member, in the bundle's order."""
    return tuple(view_of(bundle, member) for member in bundle.manifest.members)


def view_of(bundle: Bundle, member: BundleMember) -> MemberView:
    """What a member of a bundle is shown."""
    return MemberView(name=member.name, graph_sha256=member.model.sha256, mpp=member.mpp, classes=bundle.codes)


def place_of(bundle: Bundle, name: str) -> int:
    """Place of the member of this name. Raises InputError where there is none."""
    names = [member.name for member in bundle.manifest.members]
    if name not in names:
        raise InputError(f"no member {name!r} in {bundle.manifest.name}", f"its members are {', '.join(names)}")
    return names.index(name)


@dataclass(slots=True)
class Networks:
    """Graphs of a bundle, loaded when they are first needed: a second run over stored predictions needs none."""

    bundle: Bundle
    threads: int
    _loaded: dict[int, OnnxNetwork] = field(default_factory=dict)

    def __getitem__(self, place: int) -> OnnxNetwork:
        """The member at a place. Raises BundleError."""
        if place not in self._loaded:
            member = self.bundle.manifest.members[place]
            graph, path = self.bundle.model(member), self.bundle.folder / member.model.path
            self._loaded[place] = OnnxNetwork(graph, path, member.name, len(self.bundle.codes), self.threads)
        return self._loaded[place]

    def some(self, places: Sequence[int]) -> list[OnnxNetwork]:
        """Several, in the order given."""
        return [self[place] for place in places]


def scales_of(views: Sequence[MemberView]) -> tuple[float, ...]:
    """um/px that are read beside the tiles themselves, each once."""
    return tuple(dict.fromkeys(view.mpp for view in views if view.mpp is not None))


def said_of(error: SlideError) -> str:
    """What an error says of its slide, without where the slide lies on this machine."""
    said = error.problem.removeprefix(f"{shown(error.path)}: ")
    return f"{said}; {error.advice}" if error.advice else said

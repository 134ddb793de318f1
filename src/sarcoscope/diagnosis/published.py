"""The slide-level rules of the paper for its five classes, and what would tell those classes apart (protocol, 9)."""

from typing import Final

from sarcoscope.diagnosis.rules import AncillaryTest, ComponentRule, RefineRule, SlideRules

_MDM2: Final = "MDM2/CDK4 FISH"
_MDM2_SOURCE: Final = "Coindre et al., Mod Pathol 2003;16:256-262; Weaver et al., Mod Pathol 2008;21:943-949"
_H3K27ME3: Final = "loss of H3K27me3 by immunohistochemistry"
_H3K27ME3_SOURCE: Final = (
    "Schaefer, Fletcher, Hornick, Mod Pathol 2016;29:4-13; Prieto-Granada et al., Am J Surg Pathol 2016;40:479-489"
)
_MUSCLE: Final = "immunohistochemistry for desmin, h-caldesmon and smooth muscle actin"
_SAMPLING: Final = "wider sampling for a non-lipogenic component, by morphology"
_BOTH_AMPLIFIED: Final = "both carry MDM2 amplification, which does not decide; "
_WHO: Final = "WHO Classification of Tumours, Soft Tissue and Bone Tumours, 5th ed., IARC 2020"

PAPER_RULES: Final = SlideRules(
    minimum_tiles=20,
    unscored=("MPNST",),
    refine=RefineRule(evidence=("DDLPS", "UPS", "WDLPS"), relabel={"UPS": "DDLPS"}, fraction=0.05),
    components=(ComponentRule(main="DDLPS", component="WDLPS", fraction=0.05),),
    ancillary=(
        AncillaryTest(between=("DDLPS", "UPS"), test=_MDM2, source=_MDM2_SOURCE),
        AncillaryTest(between=("WDLPS", "UPS"), test=_MDM2, source=_MDM2_SOURCE),
        AncillaryTest(between=("DDLPS", "WDLPS"), test=_SAMPLING, source=_BOTH_AMPLIFIED + _WHO),
        AncillaryTest(between=("MPNST", "UPS"), test=_H3K27ME3, source=_H3K27ME3_SOURCE),
        AncillaryTest(between=("MPNST", "LMS"), test=_H3K27ME3, source=_H3K27ME3_SOURCE),
        AncillaryTest(between=("MPNST", "DDLPS"), test=_H3K27ME3, source=_H3K27ME3_SOURCE),
        AncillaryTest(between=("LMS", "UPS"), test=_MUSCLE, source=_WHO),
        AncillaryTest(between=("LMS", "DDLPS"), test=_MUSCLE, source=_WHO),
    ),
)
"""A test that separates one class from several is listed pair by pair: it says nothing between those several. The
fractions and the minimum of tiles are ours, the paper gives none."""

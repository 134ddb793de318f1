"""Which attributes of a whole-slide image stay, which are emptied or replaced; all others go.

The spirit of PS3.15 annex E (basic profile), turned round: the list names what stays, so that an attribute nobody
thought of goes.
"""

from typing import Final

from sarcoscope.slides.identity.model import Kind

METHOD: Final = "sarcoscope deidentify: whitelist of attributes, UIDs replaced"
"""DeidentificationMethod of our copies."""

KEPT_IMAGES: Final = frozenset({"VOLUME", "THUMBNAIL"})
"""Values of ImageType 3 that show the scanned area only."""

STAYS: Final = frozenset(
    {
        *("SpecificCharacterSet", "ImageType", "SOPClassUID", "Modality", "Manufacturer", "ManufacturerModelName"),
        *("VolumetricProperties", "SeriesNumber", "InstanceNumber"),
        *("DimensionOrganizationSequence", "DimensionIndexSequence", "DimensionIndexPointer"),
        *("FunctionalGroupPointer", "DimensionOrganizationType", "DimensionIndexValues", "FrameContentSequence"),
        *("InConcatenationNumber", "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber"),
        *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
        *("BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
        *("RepresentativeFrameNumber", "PixelSpacing", "PixelMeasuresSequence", "SliceThickness"),
        *("SpacingBetweenSlices", "ICCProfile", "ColorSpace", "RescaleIntercept", "RescaleSlope", "RescaleType"),
        *("PresentationLUTShape", "PixelValueTransformationSequence", "RecommendedDisplayFrameRate"),
        *("ContainerTypeCodeSequence", "SpecimenDescriptionSequence", "SpecimenTypeCodeSequence"),
        *("CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion"),
        "CodeMeaning",
        *("ImagedVolumeWidth", "ImagedVolumeHeight", "ImagedVolumeDepth", "TotalPixelMatrixColumns"),
        *("TotalPixelMatrixRows", "TotalPixelMatrixOriginSequence", "XOffsetInSlideCoordinateSystem"),
        *("YOffsetInSlideCoordinateSystem", "ZOffsetInSlideCoordinateSystem", "SpecimenLabelInImage"),
        *("FocusMethod", "ExtendedDepthOfField", "NumberOfFocalPlanes", "DistanceBetweenFocalPlanes"),
        *("ImageOrientationSlide", "OpticalPathSequence", "IlluminationTypeCodeSequence"),
        *("IlluminationColorCodeSequence", "IlluminationWaveLength", "OpticalPathIdentifier"),
        *("OpticalPathIdentificationSequence", "NumberOfOpticalPaths", "TotalPixelMatrixFocalPlanes"),
        *("ObjectiveLensPower", "ObjectiveLensNumericalAperture", "CondenserLensPower", "LensesCodeSequence"),
        *("LightPathFilterTypeStackCodeSequence", "ImagePathFilterTypeStackCodeSequence"),
        *("PlanePositionSlideSequence", "ColumnPositionInTotalImagePixelMatrix"),
        *("RowPositionInTotalImagePixelMatrix", "SharedFunctionalGroupsSequence"),
        *("PerFrameFunctionalGroupsSequence", "WholeSlideMicroscopyImageFrameTypeSequence", "FrameType"),
        *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    }
)
"""Coding, geometry, scale, optics, colour, where the frames lie."""

NEW_UIDS: Final = frozenset(
    {
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"),
        *("DimensionOrganizationUID", "ConcatenationUID", "SOPInstanceUIDOfConcatenationSource", "PyramidUID"),
        "SpecimenUID",
    }
)
"""Replaced, alike where they were alike."""

EMPTIED: Final = frozenset(
    {
        *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientBirthDate", "PatientSex"),
        *("StudyID", "IssuerOfTheContainerIdentifierSequence", "AcquisitionContextSequence"),
        *("IssuerOfTheSpecimenIdentifierSequence", "SpecimenPreparationSequence"),
    }
)
"""Must be there, may be empty (type 2)."""

ALWAYS: Final = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientBirthDate",
    "PatientSex",
)
"""Of the emptied those that every image states."""

FILLED: Final = {
    "ContentDate": "19000101",
    "ContentTime": "000000",
    "AcquisitionDateTime": "19000101000000",
    "DeviceSerialNumber": "removed",
    "PositionReferenceIndicator": "SLIDE_CORNER",
    "SoftwareVersions": "removed",
}
"""Must be there (most may not be empty, type 1): what stands in them."""

PSEUDONYMS: Final = frozenset({"PatientName", "PatientID", "ContainerIdentifier", "SpecimenIdentifier"})
"""Hold the pseudonym."""

ADDED: Final = frozenset({"PatientIdentityRemoved", "DeidentificationMethod"})

META: Final = frozenset(
    {
        *("FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID"),
        *("MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID", "ImplementationVersionName"),
    }
)
"""What the file's head says in every file: the instance's UID, which is replaced, and the writing software."""

_BY_TYPE: Final[dict[str, Kind]] = {
    "DA": "date or time",
    "TM": "date or time",
    "DT": "date or time",
    "PN": "person",
    "UI": "identifier",
    "LT": "free text",
    "ST": "free text",
    "UT": "free text",
    "LO": "free text",
    "UC": "free text",
}


def kind_of_attribute(keyword: str, vr: str) -> Kind:
    """What an attribute holds, by its keyword and its value representation."""
    if "Barcode" in keyword:
        return "barcode"
    if "SerialNumber" in keyword:
        return "serial number"
    if keyword.startswith("Patient"):
        return "person"
    if keyword.endswith(("Identifier", "ID")) or keyword == "AccessionNumber":
        return "identifier"
    return _BY_TYPE.get(vr, "other field")

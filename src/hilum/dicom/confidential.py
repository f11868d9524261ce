"""Which elements may stay in a de-identified image, and in what form.

A list of what is known to be safe (PS3.15 Annex E lets a de-identifier choose that way): what is
not on it goes, standard, retired or private. Text stays only as a term of the lists below, so a
name typed into any element has no way out. Knows element keywords; touches no data set.
"""

from __future__ import annotations

_YES_NO = "YES NO"

# Code strings -> the terms that may stay; "" of several values stays as a gap.
CODES: dict[str, frozenset[str]] = {
    keyword: frozenset(terms.split("|") if "|" in terms else terms.split())
    for keyword, terms in {
        "ImageType": "ORIGINAL DERIVED PRIMARY SECONDARY CSA RESAMPLED POST_PROCESSED ADD SUBTRACT",
        "Modality": "CR DX DR RG XA RF MG IO PX CT MR US NM PT ES XC GM SM OP DG TG OT SC",
        "ConversionType": "DV DI DF WSD SD SI DRW SYN",
        "PresentationIntentType": "FOR PRESENTATION|FOR PROCESSING",
        "BodyPartExamined": "CHEST THORAX LUNG RIB STERNUM CLAVICLE ABDOMEN SKULL HEAD NECK CSPINE "
        "TSPINE LSPINE SPINE PELVIS HIP SHOULDER ARM HAND KNEE LEG FOOT ANKLE WRIST ELBOW BREAST "
        "HEART JAW WHOLEBODY",
        "ViewPosition": "AP PA LL RL LLD RLD LLO RLO LAT LATERAL",
        "PatientPosition": "HFP HFS HFDR HFDL FFDR FFDL FFP FFS",
        "Laterality": "R L U B",
        "ImageLaterality": "R L U B",
        "FieldOfViewShape": "RECTANGLE ROUND HEXAGONAL",
        "FieldOfViewHorizontalFlip": _YES_NO,
        "PhotometricInterpretation": "MONOCHROME1|MONOCHROME2|PALETTE COLOR|RGB|YBR_FULL|"
        "YBR_FULL_422|YBR_RCT|YBR_ICT",
        "PresentationLUTShape": "IDENTITY INVERSE",
        "VOILUTFunction": "LINEAR LINEAR_EXACT SIGMOID",
        "LossyImageCompression": "00 01",
        "LossyImageCompressionMethod": "ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15",
        "RescaleType": "OD HU US",
        "ModalityLUTType": "OD HU US",
        "PixelIntensityRelationship": "LIN LOG DISP",
        "BurnedInAnnotation": _YES_NO,
        "ShutterShape": "RECTANGULAR CIRCULAR POLYGONAL",
        "PixelSpacingCalibrationType": "GEOMETRY FIDUCIAL",
        "DetectorType": "DIRECT SCINTILLATOR STORAGE FILM",
        "DetectorConfiguration": "AREA SLOT",
        "Grid": "FIXED FOCUSED RECIPROCATING PARALLEL CROSSED NONE",
        "FilterType": "STRIP WEDGE BUTTERFLY MULTIPLE FLAT SHAPED NONE",
        "FilterMaterial": "MOLYBDENUM ALUMINUM COPPER RHODIUM NIOBIUM EUROPIUM LEAD SILVER",
        "ExposureControlMode": "MANUAL AUTOMATIC",
        "AnodeTargetMaterial": "TUNGSTEN MOLYBDENUM RHODIUM SILVER",
        "QualityControlImage": _YES_NO,
    }.items()
}
# What stands for a code string that an image cannot be without.
CODE_DEFAULTS = {"Modality": "OT"}

# Numbers of these groups describe acquisition and pixels.
NUMBER_GROUPS = frozenset((0x0018, 0x0028, 0x2050))
NUMBERS = frozenset(("InstanceNumber", "SeriesNumber", "AcquisitionNumber"))
TABLES = frozenset(
    (
        *("LUTData", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData"),
        "BluePaletteColorLookupTableData",
    )
)

CLASS_UIDS = frozenset(("SOPClassUID", "ReferencedSOPClassUID"))  # stay where the standard's own
UIDS = frozenset(
    (
        *("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
        *("ReferencedSOPInstanceUID", "FrameOfReferenceUID"),
    )
)

# Their items stay only with a code of the standard's dictionaries, and that code's meaning.
CODED = frozenset(
    (
        *("ViewCodeSequence", "ViewModifierCodeSequence", "AnatomicRegionSequence"),
        *("AnatomicRegionModifierSequence", "PatientOrientationCodeSequence"),
    )
)
SEQUENCES = CODED | frozenset(
    (
        *("ModalityLUTSequence", "VOILUTSequence", "PresentationLUTSequence"),
        *("SourceImageSequence", "ReferencedImageSequence"),
    )
)

# Empty in every file: the Patient, General Study and General Equipment modules ask for them.
EMPTIED = {
    "PatientBirthDate": "DA",
    "PatientSex": "CS",
    "StudyDate": "DA",
    "StudyTime": "TM",
    "AccessionNumber": "SH",
    "ReferringPhysicianName": "PN",
    "StudyID": "SH",
    "Manufacturer": "LO",
}

# The rest stays with an option only.
DATES = {
    **{f"{what}Date": "DA" for what in ("Study", "Series", "Acquisition", "Content")},
    **{f"{what}Time": "TM" for what in ("Study", "Series", "Acquisition", "Content")},
    **{"InstanceCreationDate": "DA", "InstanceCreationTime": "TM", "AcquisitionDateTime": "DT"},
    **{"DateOfSecondaryCapture": "DA", "TimeOfSecondaryCapture": "TM"},
}
PATIENT_NUMBERS = frozenset(("PatientSize", "PatientWeight", "PregnancyStatus"))
PATIENT_CODES = {"PatientSex": frozenset("MFO"), "SmokingStatus": frozenset(("YES", "NO"))}
OLDEST = 89  # years; above it ages identify, and become 90
DEVICE = frozenset(
    (
        *("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "StationName"),
        *("SoftwareVersions", "DetectorID", "DetectorManufacturerName", "PlateID", "GantryID"),
        *("DetectorManufacturerModelName", "CassetteID"),
    )
)
DESCRIPTORS = frozenset(
    (
        *("StudyDescription", "SeriesDescription", "ProtocolName", "DerivationDescription"),
        *("AcquisitionDeviceProcessingDescription", "PerformedProcedureStepDescription"),
        *("RequestedProcedureDescription", "AcquisitionProtocolDescription"),
    )
)
_WORDS = """
abdomen ap bed bedside bone chest clavicle computed cr decubitus digital dr dx erect expiration
expiratory film frontal image inspiration inspiratory lat lateral left lordotic lung lungs mobile
oblique of pa pelvis portable post pre radiograph radiography rib ribs right routine series
shoulder single sitting spine standing sternum supine system thorax torax two up upright view
views wall with without x xr xray
"""
WORDS = frozenset(_WORDS.split())

# Objects whose pixels often carry text.
TEXT_CLASSES = "Secondary Capture"
TEXT_MODALITIES = frozenset(("SC", "OT", "US", "SR", "DOC", "ES", "XC", "GM"))
# Code 113100 … of PS3.16 CID 7050.
METHODS = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "kept": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "shifted": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "patient": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "uids": ("113110", "Retain UIDs Option"),
}

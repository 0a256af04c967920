"""Kinds of DICOM images: which are slices of scans, and which belong to none unless they are asked for."""

import pydicom

from mim3d.data.dicom_elements import text

REFORMATS = ("MPR", "CSA MPR", "CPR", "MIP", "MINIP", "REFORMATTED", "PROJECTION IMAGE", "RENDERED", "CURVED")
"""Values of ImageType that mark what was computed from a volume to look at."""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""How the SOP class of a secondary capture begins."""
LOCALIZER = "a localizer"
CAPTURE = "a secondary capture"
BURNED_IN = "an image with burned-in annotation"
REFORMAT = "a reformatted image"
DERIVED = "a derived image"
ASKED_FOR = (CAPTURE, BURNED_IN, REFORMAT, DERIVED)
"""What becomes a case if all that has a place in space is asked for."""
STORAGE = "1.2.840.10008.5.1.4.1.1"
"""How the classes of stored objects begin."""
NO_SCANS = ("11", "30", "66", "67", "68", "88", "104", "481")
"""What follows it in classes that hold no scan: presentations, maps, segmentations, reports, radiotherapy."""
NO_SCAN_MODALITIES = ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE", "PR", "KO", "SR", "DOC", "REG", "FID")


def is_image(header: pydicom.Dataset) -> bool:
    """Whether a header is that of an image, which may be a slice of a scan."""
    kind = text(header, "SOPClassUID").removeprefix(STORAGE).split(".")
    no_scan = (len(kind) > 1 and kind[1] in NO_SCANS) or text(header, "Modality") in NO_SCAN_MODALITIES
    return header.get("Rows") is not None and not no_scan


def why_left_out(header: pydicom.Dataset) -> str:
    """Why an image belongs to no scan unless it is asked for; empty for one that does."""
    kind = text(header, "ImageType").upper().split("\\")
    reasons = {
        LOCALIZER: "LOCALIZER" in kind,
        CAPTURE: text(header, "SOPClassUID").startswith(SECONDARY_CAPTURE),
        BURNED_IN: text(header, "BurnedInAnnotation").upper() == "YES",
        REFORMAT: any(value in REFORMATS for value in kind),
        DERIVED: kind[0] == "DERIVED",
    }
    return next((reason for reason, holds in reasons.items() if holds), "")

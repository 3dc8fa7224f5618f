"""Header cards of simulated ACS/SBC files: the keywords, order and blank padding of a real RAW dark.

The templates follow the header of the RAW dark jcrx01iiq (program 13961); a simulation sets its own values with
`override`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.pipeline.simulation.sky import CD, CRPIX, IDCSCALE, PA_V3, SIP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = str | int | float | bool
"""Values of a header card."""

Card = tuple[str, Value, str]
"""Keyword, value, comment; an empty keyword makes a blank card."""

BLANK: Card = ("", "", "")


def _section(title: str) -> tuple[Card, Card, Card]:
    """Return the three cards of a section heading."""
    return BLANK, ("", f"      / {title}", ""), BLANK


def override(template: Iterable[Card], values: Mapping[str, Value]) -> tuple[Card, ...]:
    """Return the template with some values replaced; cards of new keywords are appended.

    Parameters
    ----------
    template : iterable of cards
        Keywords, values and comments, in order.
    values : mapping
        New values by keyword. Text is padded with blanks to its width in the template.

    Returns
    -------
    tuple of cards
        Every card of the template, then the new ones.
    """
    left = dict(values)
    cards: list[Card] = []
    for keyword, old, comment in template:
        new = left.pop(keyword, old) if keyword else old
        if isinstance(new, str) and isinstance(old, str):
            new = new.ljust(len(old))
        cards.append((keyword, new, comment))
    cards.extend((keyword, value, "") for keyword, value in left.items())
    return tuple(cards)


PRIMARY: tuple[Card, ...] = (
    ("NEXTEND", 3, "Number of standard extensions"),
    ("DATE", "2015-01-01", "date this file was written (yyyy-mm-dd)"),
    ("FILENAME", "jcrx01iiq_raw.fits                     ", "name of file"),
    ("FILETYPE", "SCI      ", "type of data found in data file"),
    BLANK,
    ("TELESCOP", "HST", "telescope used to acquire data"),
    ("INSTRUME", "ACS   ", "identifier for instrument used to acquire data"),
    ("EQUINOX", 2000.0, "equinox of celestial coord. system"),
    *_section("DATA DESCRIPTION KEYWORDS"),
    ("ROOTNAME", "jcrx01iiq                         ", "rootname of the observation set"),
    ("IMAGETYP", "DARK              ", "type of exposure identifier"),
    ("PRIMESI", "STIS  ", "instrument designated as prime"),
    *_section("TARGET INFORMATION"),
    ("TARGNAME", "DARK                          ", "proposer's target name"),
    ("RA_TARG", 0.0, "right ascension of the target (deg) (J2000)"),
    ("DEC_TARG", 0.0, "declination of the target (deg) (J2000)"),
    *_section("PROPOSAL INFORMATION"),
    ("PROPOSID", 13961, "PEP proposal identifier"),
    ("LINENUM", "01.001         ", "proposal logsheet line number"),
    ("PR_INV_L", "SIMULATED                     ", "last name of principal investigator"),
    ("PR_INV_F", "                    ", "first name of principal investigator"),
    ("PR_INV_M", "                    ", "middle name / initial of principal investigat"),
    *_section("EXPOSURE INFORMATION"),
    ("SUNANGLE", 89.770668, "angle between sun and V1 axis"),
    ("MOONANGL", 61.151859, "angle between moon and V1 axis"),
    ("SUN_ALT", -58.192139, "altitude of the sun above Earth's limb"),
    ("FGSLOCK", "GYROS             ", "commanded FGS lock (FINE,COARSE,GYROS,UNKNOWN)"),
    ("GYROMODE", "T", "number of gyros scheduled, T=3+OBAD"),
    ("REFFRAME", "GSC1    ", "guide star catalog version"),
    ("MTFLAG", " ", "moving target flag; T if it is a moving target"),
    BLANK,
    ("DATE-OBS", "2015-03-03", "UT date of start of observation (yyyy-mm-dd)"),
    ("TIME-OBS", "02:06:52", "UT time of start of observation (hh:mm:ss)"),
    ("EXPSTART", 57084.0881024, "exposure start time (Modified Julian Date)"),
    ("EXPEND", 57084.09968426, "exposure end time (Modified Julian Date)"),
    ("EXPTIME", 1000.0, "exposure duration (seconds)--calculated"),
    ("EXPFLAG", "NORMAL       ", "Exposure interruption indicator"),
    ("QUALCOM1", "                                                                    ", ""),
    ("QUALCOM2", "                                                                    ", ""),
    ("QUALCOM3", "                                                                    ", ""),
    ("QUALITY", "                                                                    ", ""),
    BLANK,
    *_section("POINTING INFORMATION"),
    ("PA_V3", 262.430511, "position angle of V3-axis of HST (deg)"),
    *_section("TARGET OFFSETS (POSTARGS)"),
    ("POSTARG1", 0.0, "POSTARG in axis 1 direction"),
    ("POSTARG2", 0.0, "POSTARG in axis 2 direction"),
    *_section("DIAGNOSTIC KEYWORDS"),
    ("OPUS_VER", "SIMULATED         ", "data processing software system version"),
    ("CSYS_VER", "SIMULATED", "Calibration software system version id"),
    ("CAL_VER", "                        ", "CALACS code version"),
    ("PROCTIME", 58298.05924769, "Pipeline processing time (MJD)"),
    *_section("SCIENCE INSTRUMENT CONFIGURATION"),
    ("OBSTYPE", "INTERNAL      ", "observation type - imaging or spectroscopic"),
    ("OBSMODE", "ACCUM     ", "operating mode"),
    ("CTEIMAGE", "NONE", "type of Charge Transfer Image, if applicable"),
    ("SCLAMP", "NONE          ", "lamp status, NONE or name of lamp which is on"),
    ("NRPTEXP", 5, "number of repeat exposures in set: default 1"),
    ("SUBARRAY", False, "data from a subarray (T) or full frame (F)"),
    ("DETECTOR", "SBC", "detector in use: WFC, HRC, or SBC"),
    ("FILTER1", "BLOCK1            ", "element selected from filter wheel 1"),
    ("FW1OFFST", 0, "computed filter wheel offset"),
    ("FILTER2", "N/A               ", "element selected from filter wheel 2"),
    ("FW1ERROR", False, "filter wheel position error flag"),
    ("FW2OFFST", 0, "computed filter wheel offset"),
    ("FW2ERROR", False, "filter wheel position error flag"),
    ("FWSOFFST", 0, "computed filter wheel offset"),
    ("FWSERROR", False, "filter wheel position error flag"),
    ("LRFWAVE", 0.0, "proposed linear ramp filter wavelength"),
    ("APERTURE", "SBC             ", "aperture name"),
    ("PROPAPER", "SBC             ", "proposed aperture name"),
    ("DIRIMAGE", "NONE     ", "direct image for grism or prism exposure"),
    *_section("MAMA OFFSETS"),
    ("MOFFSET1", 0, "axis 1 MAMA offset (low-res pixels)"),
    ("MOFFSET2", 0, "axis 2 MAMA offset (low-res pixels)"),
    *_section("LOCAL RATE CHECK IMAGE"),
    ("LRC_XSTS", False, "Local Rate check image exists (T/F)"),
    ("LRC_FAIL", False, "Local Rate Check Failed (T/F)"),
    *_section("CALIBRATION SWITCHES: PERFORM, OMIT, COMPLETE"),
    ("STATFLAG", False, "Calculate statistics?"),
    ("WRTERR", True, "write out error array extension"),
    ("DQICORR", "PERFORM ", "data quality initialization"),
    ("GLINCORR", "PERFORM ", "correct for global detector non-linearities"),
    ("LFLGCORR", "PERFORM ", "flag pixels for local and global nonlinearities"),
    ("PCTECORR", "OMIT    ", "cte correction"),
    ("DARKCORR", "OMIT    ", "Subtract dark image"),
    ("FLATCORR", "OMIT    ", "flat field data"),
    ("PHOTCORR", "OMIT    ", "populate photometric header keywords"),
    ("RPTCORR", "PERFORM ", "add individual repeat observations"),
    ("DRIZCORR", "OMIT    ", "drizzle processing"),
    *_section("CALIBRATION REFERENCE FILES"),
    ("BPIXTAB", "jref$u451251ej_bpx.fits", "bad pixel table"),
    ("MLINTAB", "jref$k9c13374j_lin.fits", "MAMA linearity correction table"),
    ("PCTETAB", "N/A     ", "CTE Correction Table"),
    ("DRKCFILE", "N/A     ", "De-trailed Dark Reference File"),
    ("DARKFILE", "N/A     ", "dark image file name"),
    ("PFLTFILE", "N/A     ", "pixel to pixel flat field file name"),
    ("DFLTFILE", "N/A                    ", "delta flat field file name"),
    ("LFLTFILE", "N/A                    ", "low order flat"),
    ("PHOTTAB", "N/A                    ", "Photometric throughput table"),
    ("GRAPHTAB", "N/A                    ", "the HST graph table"),
    ("COMPTAB", "N/A                    ", "the HST components table"),
    ("IDCTAB", "jref$v6m2008mj_idc.fits", "image distortion correction table"),
    ("DGEOFILE", "jref$s5f20000j_dxy.fits", "Distortion correction image"),
    ("MDRIZTAB", "N/A     ", "MultiDrizzle parameter table"),
    ("CFLTFILE", "N/A     ", "Coronagraphic spot image"),
    ("SPOTTAB", "N/A     ", "Coronagraphic spot offset table"),
    ("IMPHTTAB", "N/A     ", "Image Photometry Table"),
    ("D2IMFILE", "N/A     ", "Column Correction Reference File"),
    ("NPOLFILE", "N/A     ", "Non-polynomial Offsets Reference File"),
    *_section("OTFR KEYWORDS"),
    ("T_SGSTAR", "                  ", "OMS calculated guide star control"),
    *_section("PATTERN KEYWORDS"),
    ("PATTERN1", "NONE                    ", "primary pattern type"),
    ("P1_SHAPE", "                  ", "primary pattern shape"),
    ("P1_PURPS", "          ", "primary pattern purpose"),
    ("P1_NPTS", 0, "number of points in primary pattern"),
    ("P1_PSPAC", 0.0, "point spacing for primary pattern (arc-sec)"),
    ("P1_LSPAC", 0.0, "line spacing for primary pattern (arc-sec)"),
    ("P1_ANGLE", 0.0, "angle between sides of parallelogram patt (deg)"),
    ("P1_FRAME", "         ", "coordinate frame of primary pattern"),
    ("P1_ORINT", 0.0, "orientation of pattern to coordinate frame (deg"),
    ("P1_CENTR", "   ", "center pattern relative to pointing (yes/no)"),
    ("PATTSTEP", 0, "position number of this point in the pattern"),
    *_section("ASSOCIATION KEYWORDS"),
    ("ASN_ID", "JCRX01010 ", "unique identifier assigned to association"),
    ("ASN_TAB", "jcrx01010_asn.fits     ", "name of the association table"),
    ("ASN_MTYP", "EXP-RPT     ", "Role of the Member in the Association"),
    ("CRDS_CTX", "hst_0654.pmap", ""),
    ("CRDS_VER", "7.1.5, 7.1.5, 3548bc1", ""),
    ("ATODTAB", "N/A     ", ""),
    ("BIASFILE", "N/A     ", ""),
    ("CCDTAB", "N/A     ", ""),
    ("CRREJTAB", "N/A     ", ""),
    ("FLSHFILE", "N/A     ", ""),
    ("OSCNTAB", "N/A     ", ""),
    ("SHADFILE", "N/A     ", ""),
    ("SNKCFILE", "N/A     ", ""),
)
"""Primary cards of a RAW dark."""

_WCS: tuple[Card, ...] = (
    *_section("World Coordinate System and Related Parameters"),
    ("WCSAXES", 2, "number of World Coordinate System axes"),
    ("CRPIX1", 512.0, "x-coordinate of reference pixel"),
    ("CRPIX2", 400.0, "y-coordinate of reference pixel"),
    ("CRVAL1", 70.51760118306, "first axis value at reference pixel"),
    ("CRVAL2", 19.04361724666, "second axis value at reference pixel"),
    ("CTYPE1", "RA---TAN", "the coordinate type for the first axis"),
    ("CTYPE2", "DEC--TAN", "the coordinate type for the second axis"),
    ("CD1_1", 3.5532e-07, "partial of first axis coordinate w.r.t. x"),
    ("CD1_2", -8.26131e-06, "partial of first axis coordinate w.r.t. y"),
    ("CD2_1", -9.34269e-06, "partial of second axis coordinate w.r.t. x"),
    ("CD2_2", -1.11215e-06, "partial of second axis coordinate w.r.t. y"),
    ("LTV1", 0.0, "offset in X to subsection start"),
    ("LTV2", 0.0, "offset in Y to subsection start"),
    ("RAW_LTV1", 0.0, "original offset in X to subsection start"),
    ("RAW_LTV2", 0.0, "original offset in Y to subsection start"),
    ("LTM1_1", 1.0, "reciprocal of sampling rate in X"),
    ("LTM2_2", 1.0, "reciprocal of sampling rate in Y"),
    ("ORIENTAT", -97.6671, "position angle of image y axis (deg. e of n)"),
    ("RA_APER", 70.6615680729, "RA of aperture reference position"),
    ("DEC_APER", 19.00408373602, "Declination of aperture reference position"),
    ("PA_APER", 262.431, "Position Angle of reference aperture center (de"),
    ("VAFACTOR", 1.0, "velocity aberration plate scale factor"),
)

_NAMES: tuple[Card, ...] = (
    ("INHERIT", True, "inherit the primary header"),
    ("EXTNAME", "SCI     ", "extension name"),
    ("EXTVER", 1, "extension version number"),
    ("ROOTNAME", " " * 34, "rootname of the observation set"),
    ("EXPNAME", " " * 25, "exposure identifier"),
    ("DATAMIN", 0.0, "the minimum value of the data"),
    ("DATAMAX", 0.0, "the maximum value of the data"),
    ("BUNIT", "COUNTS            ", "brightness units"),
)

SCIENCE: tuple[Card, ...] = (
    *_NAMES,
    *_WCS,
    *_section("READOUT DEFINITION PARAMETERS"),
    ("CENTERA1", 513, "subarray axis1 center pt in unbinned dect. pix"),
    ("CENTERA2", 513, "subarray axis2 center pt in unbinned dect. pix"),
    ("SIZAXIS1", 1024, "subarray axis1 size in unbinned detector pixels"),
    ("SIZAXIS2", 1024, "subarray axis2 size in unbinned detector pixels"),
    ("BINAXIS1", 1, "axis1 data bin size in unbinned detector pixels"),
    ("BINAXIS2", 1, "axis2 data bin size in unbinned detector pixels"),
    *_section("PHOTOMETRY KEYWORDS"),
    ("PHOTMODE", "                                                  ", "observation con"),
    ("PHOTFLAM", 0.0, "inverse sensitivity, ergs/cm2/Ang/electron"),
    ("PHOTZPT", 0.0, "ST magnitude zero point"),
    ("PHOTPLAM", 0.0, "Pivot wavelength (Angstroms)"),
    ("PHOTBW", 0.0, "RMS bandwidth of filter plus detector"),
    *_section("DATA PACKET INFORMATION"),
    ("FILLCNT", 0, "number of segments containing fill"),
    ("ERRCNT", 0, "number of segments containing errors"),
    ("PODPSFF", False, "podps fill present (T/F)"),
    ("STDCFFF", False, "science telemetry fill data present (T=1/F=0)"),
    ("STDCFFP", "0x5569", "science telemetry fill pattern (hex)"),
    *_section("ENGINEERING PARAMETERS"),
    ("GLOBRATE", 32.7868852459, "global count rate"),
    ("GLOBLIM", "UNDETERMINED    ", "was global linearity level exceeded?"),
    ("MDECODT1", 17.2041, "MAMA jMDECODT pwb temp from eng snap 1 (deg. C)"),
    ("MDECODT2", 19.1577, "MAMA JMDECODT pwb temp from eng snap 2 (deg. C)"),
    *_section("IMAGE STATISTICS AND DATA QUALITY FLAGS"),
    ("NGOODPIX", 1048576, "number of good pixels"),
    ("SDQFLAGS", 31743, "serious data quality flags"),
    ("GOODMIN", 32768.0, "minimum value of good pixels"),
    ("GOODMAX", 35196.0, "maximum value of good pixels"),
    ("GOODMEAN", 32768.0109300613, "mean value of good pixels"),
    ("SOFTERRS", 0, "number of soft error pixels (DQF=1)"),
    ("SNRMIN", 0.0, "minimum signal to noise of good pixels"),
    ("SNRMAX", 0.0, "maximum signal to noise of good pixels"),
    ("SNRMEAN", 0.0, "mean value of signal to noise of good pixels"),
    ("MEANDARK", 0.0, "average of the dark values subtracted"),
)
"""SCI cards of a RAW dark."""

_STATISTICS: tuple[Card, ...] = (
    *_section("IMAGE STATISTICS AND DATA QUALITY FLAGS"),
    ("NGOODPIX", 0, "number of good pixels"),
    ("SDQFLAGS", 31743, "serious data quality flags"),
    ("GOODMIN", 0.0, "minimum value of good pixels"),
    ("GOODMAX", 0.0, "maximum value of good pixels"),
    ("GOODMEAN", 0.0, "mean value of good pixels"),
)

_CONSTANT_ARRAY: tuple[Card, ...] = (
    ("NPIX1", 1024, "length of constant array axis 1"),
    ("NPIX2", 1024, "length of constant array axis 2"),
)

ERROR: tuple[Card, ...] = (*_NAMES, *_WCS, *_STATISTICS)
"""ERR cards of an FLT."""

QUALITY: tuple[Card, ...] = (*_NAMES, *_WCS)
"""DQ cards of an FLT."""

NULL_ERROR: tuple[Card, ...] = (
    *_NAMES,
    *_CONSTANT_ARRAY,
    ("PIXVALUE", 0.0, "values of pixels in constant array"),
    *_WCS,
    *_STATISTICS,
)
"""ERR cards of a RAW file, whose array is a constant that is not written out."""

NULL_QUALITY: tuple[Card, ...] = (
    *_NAMES,
    *_CONSTANT_ARRAY,
    ("PIXVALUE", 0, "values of pixels in constant array"),
    *_WCS,
)
"""DQ cards of a RAW file, whose array is a constant that is not written out."""

ASSOCIATION_PRIMARY: tuple[Card, ...] = (
    ("NEXTEND", 1, "Number of standard extensions"),
    ("FILENAME", " " * 35, "name of file"),
    ("FILETYPE", "ASN_TABLE", "type of data found in data file"),
    BLANK,
    ("TELESCOP", "HST", "telescope used to acquire data"),
    ("INSTRUME", "ACS   ", "identifier for instrument used to acquire data"),
    ("EQUINOX", 2000.0, "equinox of celestial coord. system"),
    *_section("DATA DESCRIPTION KEYWORDS"),
    ("ROOTNAME", " " * 34, "rootname of the observation set"),
    ("PRIMESI", "ACS   ", "instrument designated as prime"),
    *_section("TARGET INFORMATION"),
    ("TARGNAME", " " * 30, "proposer's target name"),
    ("RA_TARG", 0.0, "right ascension of the target (deg) (J2000)"),
    ("DEC_TARG", 0.0, "declination of the target (deg) (J2000)"),
    *_section("PROPOSAL INFORMATION"),
    ("PROPOSID", 0, "PEP proposal identifier"),
    *_section("SCIENCE INSTRUMENT CONFIGURATION"),
    ("DETECTOR", "SBC", "detector in use: WFC, HRC, or SBC"),
    *_section("ASSOCIATION KEYWORDS"),
    ("ASN_ID", " " * 10, "unique identifier assigned to association"),
    ("ASN_TAB", " " * 23, "name of the association table"),
    ("ASN_STAT", "COMPLETE    ", "status of association (COMPLETE/INCOMPLETE)"),
    ("ASN_PROD", True, "product created (T/F)"),
)
"""Primary cards of an association table."""

LINEAR = ("CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "ORIENTAT", "PA_APER")
"""Cards of `DISTORTION` that ERR and DQ have, too."""

DISTORTION: dict[str, Value] = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "CRPIX1": CRPIX[0],
    "CRPIX2": CRPIX[1],
    "CD1_1": CD[0][0],
    "CD1_2": CD[0][1],
    "CD2_1": CD[1][0],
    "CD2_2": CD[1][1],
    "ORIENTAT": -43.0267,
    "PA_APER": -43.0267,
    "CCDCHIP": 1,
    "NCOMBINE": 1,
    "RADESYS": "ICRS",
    "OCX10": 5.96877289353869e-05,
    "OCX11": 0.033552177250385284,
    "OCY10": 0.030077841132879257,
    "OCY11": 0.003195184050127864,
    "IDCSCALE": IDCSCALE,
    "IDCTHETA": 0.0,
    "IDCXREF": 512.0,
    "IDCYREF": 512.0,
    "IDCV2REF": 205.81,
    "IDCV3REF": 470.237,
    "MJDREF": 0.0,
    "IDCTAB": "jref$sbc_simulated_idc.fits",
    "A_ORDER": 4,
    "B_ORDER": 4,
    **{f"A_{p}_{q}": a for p, q, a, _ in SIP},
    **{f"B_{p}_{q}": b for p, q, _, b in SIP},
    "WCSNAME": "IDC_sbc_simulated",
}
"""Cards that updatewcs adds to a SCI header: without them AstroDrizzle refuses the file."""

TARGET, SCIENCE_PROGRAM = "SIMULATED-GALAXY", 99655

SCIENCE_PRIMARY: dict[str, Value] = {
    "IMAGETYP": "EXT",
    "PRIMESI": "ACS",
    "TARGNAME": TARGET,
    "PROPOSID": SCIENCE_PROGRAM,
    "LINENUM": "11.001",
    "FGSLOCK": "FINE",
    "REFFRAME": "ICRS",
    "PA_V3": PA_V3,
    "CAL_VER": "SIMULATED",
    "OBSTYPE": "IMAGING",
    "NRPTEXP": 1,
    "DQICORR": "COMPLETE",
    "FLATCORR": "COMPLETE",
    "PHOTCORR": "COMPLETE",
    "RPTCORR": "OMIT",
    "DRIZCORR": "PERFORM",
    "IDCTAB": "jref$sbc_simulated_idc.fits",
    "ASN_MTYP": "EXP-DTH",
}
"""Cards of an FLT's primary header that differ from a RAW dark's."""

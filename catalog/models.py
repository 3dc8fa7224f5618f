"""The tables of the catalog. Units are in the column names: `_s`, `_c` (deg C), `_mjd` (days), `_count_s_pix`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, MetaData, UniqueConstraint, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sbcdark.catalog.rate_blocks import block_by_default
from sbcdark.catalog.types import UtcDateTime

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Declarative base. Every constraint is named by convention, so migrations can find it."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[str]: JSON(),
    }


EXPOSURE_FACTS = (
    "kind", "program", "target", "filter", "association", "start_mjd", "exptime_s", "temperature_start_c",
    "temperature_end_c", "exposure_flag", "observation_quality", "guide_star_lock", "hot_pixels",
)  # fmt: skip
"""The columns of `exposures` that come from a file; `files.exposure_facts` keeps them for each file.
Rows written before 0003 lack `observation_quality`, `guide_star_lock` and `hot_pixels`.
"""

# What the indexes of rankings hold beside what orders, so that ranks are counted without a look at the rows.
_TIES = ("temperature_mean_c", "start_mjd", "id")
_BOX = ("box_rate_count_s_pix", "box_rate_err_count_s_pix")
_GATES = ("rootname", "quality", "has_raw", "exptime_s", "quiet_rate_count_s_pix", "quiet_rate_err_count_s_pix")

QUALITIES = "quality IN ('good', 'suspect', 'retired', 'untested')"


class Exposure(Base):
    """One IPPPSSOOT. Its measured values come from the RAW of a dark and the FLT of a science exposure."""

    __tablename__ = "exposures"
    __table_args__ = (
        CheckConstraint("kind IN ('dark', 'science')", name="kind"),
        CheckConstraint(QUALITIES, name="quality"),
        CheckConstraint("exptime_s > 0", name="exptime"),
        Index("ix_exposures_kind_contrast_block", "kind", "contrast_block", "contrast_err_count_s_pix",
              "contrast_count_s_pix", *_TIES, *_GATES, *_BOX),
        Index("ix_exposures_kind_box_rate_block", "kind", "box_rate_block", "box_rate_err_count_s_pix",
              "box_rate_count_s_pix", *_TIES, *_GATES, "contrast_count_s_pix"),
        Index("ix_exposures_kind_contrast", "kind", "contrast_count_s_pix", "id", "contrast_err_count_s_pix"),
        Index("ix_exposures_kind_box_rate", "kind", "box_rate_count_s_pix", "id", "box_rate_err_count_s_pix"),
        Index("ix_exposures_kind_box_count", "kind", "box_count", *_TIES, *_GATES, "contrast_count_s_pix", *_BOX),
        Index("ix_exposures_kind_temperature", "kind", *_TIES, *_GATES, "contrast_count_s_pix", *_BOX),
        Index("ix_exposures_kind_start", "kind", "start_mjd", "id"),
        Index("ix_exposures_program", "program"),
        Index("ix_exposures_association", "association"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    rootname: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    program: Mapped[int | None]
    target: Mapped[str | None]
    filter: Mapped[str | None]
    association: Mapped[str | None]
    start_utc: Mapped[datetime]
    start_mjd: Mapped[float] = mapped_column(comment="days, UTC")
    exptime_s: Mapped[float]
    temperature_start_c: Mapped[float]
    temperature_end_c: Mapped[float]
    temperature_mean_c: Mapped[float]
    exposure_flag: Mapped[str | None]
    observation_quality: Mapped[str | None] = mapped_column(comment="QUALITY of the header")
    guide_star_lock: Mapped[str | None] = mapped_column(comment="FGSLOCK of the header")
    hot_pixels: Mapped[int | None] = mapped_column(comment="pixels that the frame's own level does not explain")
    quality: Mapped[str] = mapped_column(default="good")
    quality_reason: Mapped[str | None]
    quality_by_hand: Mapped[bool] = mapped_column(default=False)
    has_raw: Mapped[bool] = mapped_column(default=False, server_default=false(), comment="a RAW of it is present")
    box_count: Mapped[float | None] = mapped_column(comment="counts")
    box_rate_count_s_pix: Mapped[float | None]
    box_rate_err_count_s_pix: Mapped[float | None]
    quiet_rate_count_s_pix: Mapped[float | None]
    quiet_rate_err_count_s_pix: Mapped[float | None]
    contrast_count_s_pix: Mapped[float | None]
    contrast_err_count_s_pix: Mapped[float | None]
    contrast_block: Mapped[int | None] = mapped_column(
        BigInteger, default=block_by_default("contrast_count_s_pix"), comment="2.5e-7 count/s/pixel"
    )
    box_rate_block: Mapped[int | None] = mapped_column(
        BigInteger, default=block_by_default("box_rate_count_s_pix"), comment="2.5e-7 count/s/pixel"
    )


class QualityNote(Base):
    """One change of an exposure's quality, by the outlier test or by hand, with the reason."""

    __tablename__ = "quality_notes"
    __table_args__ = (
        CheckConstraint(QUALITIES, name="quality"),
        Index("ix_quality_notes_exposure_id", "exposure_id"),
        Index("ix_quality_notes_ingest_run_id", "ingest_run_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    exposure_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"))
    ingest_run_id: Mapped[int] = mapped_column(ForeignKey("ingest_runs.id"))
    quality: Mapped[str]
    reason: Mapped[str]
    by_hand: Mapped[bool]
    created_utc: Mapped[datetime]


class File(Base):
    """The content of a URI when it was read. New content at the URI adds a row; the old row becomes `changed`."""

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint("kind IN ('RAW', 'FLT', 'ASN')", name="kind"),
        CheckConstraint("state IN ('present', 'missing', 'changed')", name="state"),
        # A URI has one current content; older contents stay for the selections that use them: WHERE state <> 'changed'.
        # The condition is in the migrations alone, since naming it here imports both dialects with every command.
        Index("uq_files_uri_present", "uri", unique=True),
        Index("ix_files_exposure_id_kind_state", "exposure_id", "kind", "state"),
        Index("ix_files_association_id", "association_id"),
        Index("ix_files_sha256", "sha256"),
        Index("ix_files_ingest_run_id", "ingest_run_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    exposure_id: Mapped[int | None] = mapped_column(ForeignKey("exposures.id"))
    association_id: Mapped[int | None] = mapped_column(ForeignKey("associations.id"))
    ingest_run_id: Mapped[int] = mapped_column(ForeignKey("ingest_runs.id"))
    kind: Mapped[str]
    uri: Mapped[str]
    size_byte: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger, comment="nanoseconds since 1970")
    sha256: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="present")
    processed_mjd: Mapped[float | None] = mapped_column(comment="days; PROCTIME of the header")
    calibration_version: Mapped[str | None]
    dark_correction: Mapped[str | None]
    mean_dark_count: Mapped[float | None] = mapped_column(comment="counts per pixel; MEANDARK of the header")
    flat_correction: Mapped[str | None]
    flat_file: Mapped[str | None]
    multiplied_by: Mapped[str | None] = mapped_column(
        comment="flat whose product with the FLT was measured; null: the counts are as in the file"
    )
    photflam_erg_s_cm2_a: Mapped[float | None] = mapped_column(comment="per count/s")
    photplam_a: Mapped[float | None] = mapped_column(comment="Angstrom")
    exposure_facts: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What this file's header says about its exposure (`EXPOSURE_FACTS`); None if read before revision 0002."""
    etag: Mapped[str | None]
    """The server's ETag, for a remote file."""


class Region(Base):
    """A named set of detector pixels with a version (0-based, half-open)."""

    __tablename__ = "regions"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    y0: Mapped[int]
    y1: Mapped[int]
    x0: Mapped[int]
    x1: Mapped[int]
    masked: Mapped[bool]


class Measurement(Base):
    """Counts and rate of one region of one file."""

    __tablename__ = "measurements"
    __table_args__ = (Index("ix_measurements_region_id", "region_id"),)

    file_id: Mapped[int] = mapped_column(ForeignKey("files.id"), primary_key=True)
    region_id: Mapped[int] = mapped_column(ForeignKey("regions.id"), primary_key=True)
    counts: Mapped[float] = mapped_column(comment="counts")
    good_pixels: Mapped[int]
    rate_count_s_pix: Mapped[float]
    rate_err_count_s_pix: Mapped[float]


class Association(Base):
    """An ASN table."""

    __tablename__ = "associations"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    program: Mapped[int | None]
    target: Mapped[str | None]


class AssociationMember(Base):
    """A row of an ASN table. The exposure that it names may be missing from the catalog."""

    __tablename__ = "association_members"
    __table_args__ = (Index("ix_association_members_rootname", "rootname"),)

    association_id: Mapped[int] = mapped_column(ForeignKey("associations.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    rootname: Mapped[str]
    member_type: Mapped[str]


class Selection(Base):
    """A stored selection of darks for one exposure; never updated."""

    __tablename__ = "selections"
    __table_args__ = (Index("ix_selections_exposure_id", "exposure_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    exposure_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"))
    file_id: Mapped[int | None] = mapped_column(ForeignKey("files.id"), index=True)
    rule: Mapped[str]
    tier: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    warnings: Mapped[list[str]]
    catalog_revision: Mapped[int]
    software_version: Mapped[str]
    created_utc: Mapped[datetime]


class SelectionDark(Base):
    """One dark of a selection with its rank, its weight and every term of its score."""

    __tablename__ = "selection_darks"
    __table_args__ = (
        Index("ix_selection_darks_dark_id", "dark_id"),
        Index("ix_selection_darks_file_id", "file_id"),
    )

    selection_id: Mapped[int] = mapped_column(ForeignKey("selections.id"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    dark_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"))
    file_id: Mapped[int] = mapped_column(ForeignKey("files.id"))
    score: Mapped[float]
    weight: Mapped[float]
    delta_sigma: Mapped[float | None]
    delta_box_rate_count_s_pix: Mapped[float | None]
    delta_contrast_count_s_pix: Mapped[float | None]
    delta_temperature_c: Mapped[float]
    delta_days: Mapped[float]


class Product(Base):
    """A product file: a drizzled science image, a masterdark, its error or their difference; never updated."""

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("kind IN ('science', 'masterdark', 'error', 'net')", name="kind"),
        Index("ix_products_name", "name"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(comment="association, or the first exposure of a list")
    kind: Mapped[str]
    uri: Mapped[str]
    sha256: Mapped[str]
    pixels_sha256: Mapped[str] = mapped_column(comment="of the SCI array as little-endian float32")
    parameters: Mapped[dict[str, Any]]
    catalog_revision: Mapped[int]
    software_version: Mapped[str]
    created_utc: Mapped[datetime]


class ProductSelection(Base):
    """The selections that a product uses, with the fit of each exposure."""

    __tablename__ = "product_selections"
    __table_args__ = (Index("ix_product_selections_selection_id", "selection_id"),)

    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), primary_key=True)
    selection_id: Mapped[int] = mapped_column(ForeignKey("selections.id"), primary_key=True)
    fit: Mapped[dict[str, Any]] = mapped_column(comment="base and amplitude in count/s/pixel, covariance, chi2")


class Photometry(Base):
    """Dark-subtracted photometry in one aperture; never updated."""

    __tablename__ = "photometry"
    __table_args__ = (
        Index("ix_photometry_science_product_id", "science_product_id"),
        Index("ix_photometry_dark_product_id", "dark_product_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    science_product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    dark_product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    association: Mapped[str]
    target: Mapped[str | None]
    filter: Mapped[str | None]
    start_utc: Mapped[datetime | None] = mapped_column(comment="of the first exposure")
    exptime_s: Mapped[float | None] = mapped_column(comment="sum of the exposures")
    aperture: Mapped[str]
    shape: Mapped[str | None] = mapped_column(comment="shape and place of the aperture, as text")
    x_pix: Mapped[float]
    y_pix: Mapped[float]
    ra_deg: Mapped[float]
    dec_deg: Mapped[float]
    area_pix: Mapped[float | None] = mapped_column(comment="pixels; the geometric area")
    effective_radius_pix: Mapped[float | None] = mapped_column(comment="of the circle with the same area")
    effective_radius_arcsec: Mapped[float | None]
    coverage: Mapped[float | None] = mapped_column(comment="share of the area on good data")
    science_count_s: Mapped[float]
    science_err_count_s: Mapped[float]
    dark_count_s: Mapped[float]
    dark_err_count_s: Mapped[float]
    net_count_s: Mapped[float]
    net_err_count_s: Mapped[float]
    dark_fraction: Mapped[float | None]
    flux_erg_s_cm2_a: Mapped[float | None]
    ab_mag: Mapped[float | None]
    ab_mag_err: Mapped[float | None]
    sky_count_s: Mapped[float | None]
    sky_err_count_s: Mapped[float | None]
    source_count_s: Mapped[float | None] = mapped_column(comment="science minus dark minus sky")
    source_err_count_s: Mapped[float | None]
    flux_err_erg_s_cm2_a: Mapped[float | None]
    flux_limit_erg_s_cm2_a: Mapped[float | None] = mapped_column(comment="3-sigma upper limit")
    ab_mag_limit: Mapped[float | None] = mapped_column(comment="3-sigma upper limit")
    st_mag: Mapped[float | None]
    st_mag_err: Mapped[float | None]
    st_mag_limit: Mapped[float | None] = mapped_column(comment="3-sigma upper limit")
    source_low_count_s: Mapped[float | None] = mapped_column(comment="68 % interval of the source")
    source_high_count_s: Mapped[float | None] = mapped_column(comment="68 % interval of the source")
    significance_sigma: Mapped[float | None]
    native_count: Mapped[float | None] = mapped_column(comment="counts on the detector")
    native_background_count: Mapped[float | None] = mapped_column(comment="counts of dark and sky expected there")
    native_background_err_count: Mapped[float | None]
    sky_method: Mapped[str | None]
    warnings: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))


class IngestRun(Base):
    """An ingest or another action that changed the catalog. The largest id is the catalog's revision."""

    __tablename__ = "ingest_runs"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  SQLAlchemy reads this attribute as it is

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str]
    software_version: Mapped[str]
    started_utc: Mapped[datetime]
    finished_utc: Mapped[datetime | None]
    added: Mapped[int] = mapped_column(default=0)
    updated: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)


class ArchiveExposure(Base):
    """A dark in an archive listing, whether or not the catalog has it."""

    __tablename__ = "archive_exposures"

    rootname: Mapped[str] = mapped_column(primary_key=True)
    program: Mapped[int] = mapped_column(index=True)
    start_mjd: Mapped[float] = mapped_column(comment="days, UTC", index=True)
    exptime_s: Mapped[float | None]
    first_seen_utc: Mapped[datetime]


class RejectedFile(Base):
    """A rejected file that claims to be an SBC product, as it was last seen."""

    __tablename__ = "rejected_files"
    __table_args__ = (Index("ix_rejected_files_ingest_run_id", "ingest_run_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    uri: Mapped[str] = mapped_column(unique=True)
    size_byte: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger, comment="nanoseconds since 1970")
    reason: Mapped[str]
    ingest_run_id: Mapped[int] = mapped_column(ForeignKey("ingest_runs.id"))


def facts_are_complete(row: Any) -> bool:
    """Return whether a file's row has all the facts that this release stores for an exposure's file."""
    return row.exposure_id is None or (row.exposure_facts or {}).keys() >= set(EXPOSURE_FACTS)

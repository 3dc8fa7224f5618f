"""first catalog.

Revision 0001, after .
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "associations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("program", sa.Integer(), nullable=True),
        sa.Column("target", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_associations")),
        sa.UniqueConstraint("name", name=op.f("uq_associations_name")),
    )
    op.create_table(
        "exposures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rootname", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("program", sa.Integer(), nullable=True),
        sa.Column("target", sa.String(), nullable=True),
        sa.Column("filter", sa.String(), nullable=True),
        sa.Column("association", sa.String(), nullable=True),
        sa.Column("start_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("start_mjd", sa.Double(), nullable=False, comment="days, UTC"),
        sa.Column("exptime_s", sa.Double(), nullable=False),
        sa.Column("temperature_start_c", sa.Double(), nullable=False),
        sa.Column("temperature_end_c", sa.Double(), nullable=False),
        sa.Column("temperature_mean_c", sa.Double(), nullable=False),
        sa.Column("exposure_flag", sa.String(), nullable=True),
        sa.Column("quality", sa.String(), nullable=False),
        sa.Column("quality_reason", sa.String(), nullable=True),
        sa.Column("quality_by_hand", sa.Boolean(), nullable=False),
        sa.Column("box_count", sa.Double(), nullable=True, comment="counts"),
        sa.Column("box_rate_count_s_pix", sa.Double(), nullable=True),
        sa.Column("box_rate_err_count_s_pix", sa.Double(), nullable=True),
        sa.Column("quiet_rate_count_s_pix", sa.Double(), nullable=True),
        sa.Column("quiet_rate_err_count_s_pix", sa.Double(), nullable=True),
        sa.Column("contrast_count_s_pix", sa.Double(), nullable=True),
        sa.Column("contrast_err_count_s_pix", sa.Double(), nullable=True),
        sa.CheckConstraint("kind IN ('dark', 'science')", name=op.f("ck_exposures_kind")),
        sa.CheckConstraint("quality IN ('good', 'suspect', 'retired')", name=op.f("ck_exposures_quality")),
        sa.CheckConstraint("exptime_s > 0", name=op.f("ck_exposures_exptime")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exposures")),
        sa.UniqueConstraint("rootname", name=op.f("uq_exposures_rootname")),
    )
    with op.batch_alter_table("exposures", schema=None) as batch_op:
        batch_op.create_index("ix_exposures_association", ["association"], unique=False)
        batch_op.create_index("ix_exposures_kind_box_count", ["kind", "box_count", "id"], unique=False)
        batch_op.create_index("ix_exposures_kind_box_rate", ["kind", "box_rate_count_s_pix", "id"], unique=False)
        batch_op.create_index("ix_exposures_kind_box_rate_err", ["kind", "box_rate_err_count_s_pix"], unique=False)
        batch_op.create_index("ix_exposures_kind_contrast", ["kind", "contrast_count_s_pix", "id"], unique=False)
        batch_op.create_index("ix_exposures_kind_contrast_err", ["kind", "contrast_err_count_s_pix"], unique=False)
        batch_op.create_index("ix_exposures_kind_start", ["kind", "start_mjd", "id"], unique=False)
        batch_op.create_index("ix_exposures_kind_temperature", ["kind", "temperature_mean_c", "id"], unique=False)
        batch_op.create_index("ix_exposures_program", ["program"], unique=False)

    op.create_table(
        "ingest_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("software_version", sa.String(), nullable=False),
        sa.Column("started_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_utc", sa.DateTime(timezone=True), nullable=True),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_runs")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "products",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False, comment="association, or the first exposure of a list"),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("pixels_sha256", sa.String(), nullable=False, comment="of the SCI array as little-endian float32"),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("catalog_revision", sa.Integer(), nullable=False),
        sa.Column("software_version", sa.String(), nullable=False),
        sa.Column("created_utc", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('science', 'masterdark', 'error')", name=op.f("ck_products_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
    )
    with op.batch_alter_table("products", schema=None) as batch_op:
        batch_op.create_index("ix_products_name", ["name"], unique=False)

    op.create_table(
        "regions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("y0", sa.Integer(), nullable=False),
        sa.Column("y1", sa.Integer(), nullable=False),
        sa.Column("x0", sa.Integer(), nullable=False),
        sa.Column("x1", sa.Integer(), nullable=False),
        sa.Column("masked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regions")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_regions_name_version")),
    )
    op.create_table(
        "association_members",
        sa.Column("association_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("rootname", sa.String(), nullable=False),
        sa.Column("member_type", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["association_id"], ["associations.id"], name=op.f("fk_association_members_association_id_associations")
        ),
        sa.PrimaryKeyConstraint("association_id", "position", name=op.f("pk_association_members")),
    )
    with op.batch_alter_table("association_members", schema=None) as batch_op:
        batch_op.create_index("ix_association_members_rootname", ["rootname"], unique=False)

    op.create_table(
        "files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("exposure_id", sa.Integer(), nullable=True),
        sa.Column("association_id", sa.Integer(), nullable=True),
        sa.Column("ingest_run_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("size_byte", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False, comment="nanoseconds since 1970"),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("processed_mjd", sa.Double(), nullable=True, comment="days; PROCTIME of the header"),
        sa.Column("calibration_version", sa.String(), nullable=True),
        sa.Column("dark_correction", sa.String(), nullable=True),
        sa.Column("mean_dark_count", sa.Double(), nullable=True, comment="counts per pixel; MEANDARK of the header"),
        sa.Column("flat_correction", sa.String(), nullable=True),
        sa.Column("flat_file", sa.String(), nullable=True),
        sa.Column("photflam_erg_s_cm2_a", sa.Double(), nullable=True, comment="per count/s"),
        sa.Column("photplam_a", sa.Double(), nullable=True, comment="Angstrom"),
        sa.CheckConstraint("kind IN ('RAW', 'FLT', 'ASN')", name=op.f("ck_files_kind")),
        sa.CheckConstraint("state IN ('present', 'missing', 'changed')", name=op.f("ck_files_state")),
        sa.CheckConstraint("(exposure_id IS NULL) <> (association_id IS NULL)", name=op.f("ck_files_owner")),
        sa.ForeignKeyConstraint(
            ["association_id"], ["associations.id"], name=op.f("fk_files_association_id_associations")
        ),
        sa.ForeignKeyConstraint(["exposure_id"], ["exposures.id"], name=op.f("fk_files_exposure_id_exposures")),
        sa.ForeignKeyConstraint(["ingest_run_id"], ["ingest_runs.id"], name=op.f("fk_files_ingest_run_id_ingest_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    with op.batch_alter_table("files", schema=None) as batch_op:
        batch_op.create_index("ix_files_association_id", ["association_id"], unique=False)
        batch_op.create_index("ix_files_exposure_id_kind_state", ["exposure_id", "kind", "state"], unique=False)
        batch_op.create_index("ix_files_ingest_run_id", ["ingest_run_id"], unique=False)
        batch_op.create_index("ix_files_sha256", ["sha256"], unique=False)
        batch_op.create_index(
            "uq_files_uri_present",
            ["uri"],
            unique=True,
            sqlite_where=sa.text("state <> 'changed'"),
            postgresql_where=sa.text("state <> 'changed'"),
        )

    op.create_table(
        "quality_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("exposure_id", sa.Integer(), nullable=False),
        sa.Column("ingest_run_id", sa.Integer(), nullable=False),
        sa.Column("quality", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("created_utc", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("quality IN ('good', 'suspect', 'retired')", name=op.f("ck_quality_notes_quality")),
        sa.ForeignKeyConstraint(["exposure_id"], ["exposures.id"], name=op.f("fk_quality_notes_exposure_id_exposures")),
        sa.ForeignKeyConstraint(
            ["ingest_run_id"], ["ingest_runs.id"], name=op.f("fk_quality_notes_ingest_run_id_ingest_runs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_notes")),
    )
    with op.batch_alter_table("quality_notes", schema=None) as batch_op:
        batch_op.create_index("ix_quality_notes_exposure_id", ["exposure_id"], unique=False)
        batch_op.create_index("ix_quality_notes_ingest_run_id", ["ingest_run_id"], unique=False)

    op.create_table(
        "photometry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("science_product_id", sa.Integer(), nullable=False),
        sa.Column("dark_product_id", sa.Integer(), nullable=False),
        sa.Column("association", sa.String(), nullable=False),
        sa.Column("aperture", sa.String(), nullable=False),
        sa.Column("x_pix", sa.Double(), nullable=False),
        sa.Column("y_pix", sa.Double(), nullable=False),
        sa.Column("ra_deg", sa.Double(), nullable=False),
        sa.Column("dec_deg", sa.Double(), nullable=False),
        sa.Column("science_count_s", sa.Double(), nullable=False),
        sa.Column("science_err_count_s", sa.Double(), nullable=False),
        sa.Column("dark_count_s", sa.Double(), nullable=False),
        sa.Column("dark_err_count_s", sa.Double(), nullable=False),
        sa.Column("net_count_s", sa.Double(), nullable=False),
        sa.Column("net_err_count_s", sa.Double(), nullable=False),
        sa.Column("dark_fraction", sa.Double(), nullable=True),
        sa.Column("flux_erg_s_cm2_a", sa.Double(), nullable=True),
        sa.Column("ab_mag", sa.Double(), nullable=True),
        sa.Column("ab_mag_err", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["dark_product_id"], ["products.id"], name=op.f("fk_photometry_dark_product_id_products")
        ),
        sa.ForeignKeyConstraint(
            ["science_product_id"], ["products.id"], name=op.f("fk_photometry_science_product_id_products")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photometry")),
    )
    with op.batch_alter_table("photometry", schema=None) as batch_op:
        batch_op.create_index("ix_photometry_dark_product_id", ["dark_product_id"], unique=False)
        batch_op.create_index("ix_photometry_science_product_id", ["science_product_id"], unique=False)

    op.create_table(
        "rejected_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("size_byte", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False, comment="nanoseconds since 1970"),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("ingest_run_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ingest_run_id"], ["ingest_runs.id"], name=op.f("fk_rejected_files_ingest_run_id_ingest_runs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_files")),
        sa.UniqueConstraint("uri", name=op.f("uq_rejected_files_uri")),
    )
    with op.batch_alter_table("rejected_files", schema=None) as batch_op:
        batch_op.create_index("ix_rejected_files_ingest_run_id", ["ingest_run_id"], unique=False)

    op.create_table(
        "measurements",
        sa.Column("file_id", sa.Integer(), nullable=False),
        sa.Column("region_id", sa.Integer(), nullable=False),
        sa.Column("counts", sa.Double(), nullable=False, comment="counts"),
        sa.Column("good_pixels", sa.Integer(), nullable=False),
        sa.Column("rate_count_s_pix", sa.Double(), nullable=False),
        sa.Column("rate_err_count_s_pix", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_measurements_file_id_files")),
        sa.ForeignKeyConstraint(["region_id"], ["regions.id"], name=op.f("fk_measurements_region_id_regions")),
        sa.PrimaryKeyConstraint("file_id", "region_id", name=op.f("pk_measurements")),
    )
    with op.batch_alter_table("measurements", schema=None) as batch_op:
        batch_op.create_index("ix_measurements_region_id", ["region_id"], unique=False)

    op.create_table(
        "selections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("exposure_id", sa.Integer(), nullable=False),
        sa.Column("file_id", sa.Integer(), nullable=True),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("catalog_revision", sa.Integer(), nullable=False),
        sa.Column("software_version", sa.String(), nullable=False),
        sa.Column("created_utc", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["exposure_id"], ["exposures.id"], name=op.f("fk_selections_exposure_id_exposures")),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_selections_file_id_files")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_selections")),
    )
    with op.batch_alter_table("selections", schema=None) as batch_op:
        batch_op.create_index("ix_selections_exposure_id", ["exposure_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_selections_file_id"), ["file_id"], unique=False)

    op.create_table(
        "product_selections",
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.Column("selection_id", sa.Integer(), nullable=False),
        sa.Column("fit", sa.JSON(), nullable=False, comment="base and amplitude in count/s/pixel, covariance, chi2"),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("fk_product_selections_product_id_products")
        ),
        sa.ForeignKeyConstraint(
            ["selection_id"], ["selections.id"], name=op.f("fk_product_selections_selection_id_selections")
        ),
        sa.PrimaryKeyConstraint("product_id", "selection_id", name=op.f("pk_product_selections")),
    )
    with op.batch_alter_table("product_selections", schema=None) as batch_op:
        batch_op.create_index("ix_product_selections_selection_id", ["selection_id"], unique=False)

    op.create_table(
        "selection_darks",
        sa.Column("selection_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("dark_id", sa.Integer(), nullable=False),
        sa.Column("file_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("delta_sigma", sa.Double(), nullable=True),
        sa.Column("delta_box_rate_count_s_pix", sa.Double(), nullable=True),
        sa.Column("delta_contrast_count_s_pix", sa.Double(), nullable=True),
        sa.Column("delta_temperature_c", sa.Double(), nullable=False),
        sa.Column("delta_days", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dark_id"], ["exposures.id"], name=op.f("fk_selection_darks_dark_id_exposures")),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_selection_darks_file_id_files")),
        sa.ForeignKeyConstraint(
            ["selection_id"], ["selections.id"], name=op.f("fk_selection_darks_selection_id_selections")
        ),
        sa.PrimaryKeyConstraint("selection_id", "rank", name=op.f("pk_selection_darks")),
    )
    with op.batch_alter_table("selection_darks", schema=None) as batch_op:
        batch_op.create_index("ix_selection_darks_dark_id", ["dark_id"], unique=False)
        batch_op.create_index("ix_selection_darks_file_id", ["file_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("selection_darks", schema=None) as batch_op:
        batch_op.drop_index("ix_selection_darks_file_id")
        batch_op.drop_index("ix_selection_darks_dark_id")

    op.drop_table("selection_darks")
    with op.batch_alter_table("product_selections", schema=None) as batch_op:
        batch_op.drop_index("ix_product_selections_selection_id")

    op.drop_table("product_selections")
    with op.batch_alter_table("selections", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_selections_file_id"))
        batch_op.drop_index("ix_selections_exposure_id")

    op.drop_table("selections")
    with op.batch_alter_table("measurements", schema=None) as batch_op:
        batch_op.drop_index("ix_measurements_region_id")

    op.drop_table("measurements")
    with op.batch_alter_table("rejected_files", schema=None) as batch_op:
        batch_op.drop_index("ix_rejected_files_ingest_run_id")

    op.drop_table("rejected_files")
    with op.batch_alter_table("photometry", schema=None) as batch_op:
        batch_op.drop_index("ix_photometry_science_product_id")
        batch_op.drop_index("ix_photometry_dark_product_id")

    op.drop_table("photometry")
    with op.batch_alter_table("quality_notes", schema=None) as batch_op:
        batch_op.drop_index("ix_quality_notes_ingest_run_id")
        batch_op.drop_index("ix_quality_notes_exposure_id")

    op.drop_table("quality_notes")
    with op.batch_alter_table("files", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_files_uri_present",
            sqlite_where=sa.text("state <> 'changed'"),
            postgresql_where=sa.text("state <> 'changed'"),
        )
        batch_op.drop_index("ix_files_sha256")
        batch_op.drop_index("ix_files_ingest_run_id")
        batch_op.drop_index("ix_files_exposure_id_kind_state")
        batch_op.drop_index("ix_files_association_id")

    op.drop_table("files")
    with op.batch_alter_table("association_members", schema=None) as batch_op:
        batch_op.drop_index("ix_association_members_rootname")

    op.drop_table("association_members")
    op.drop_table("regions")
    with op.batch_alter_table("products", schema=None) as batch_op:
        batch_op.drop_index("ix_products_name")

    op.drop_table("products")
    op.drop_table("ingest_runs")
    with op.batch_alter_table("exposures", schema=None) as batch_op:
        batch_op.drop_index("ix_exposures_program")
        batch_op.drop_index("ix_exposures_kind_temperature")
        batch_op.drop_index("ix_exposures_kind_start")
        batch_op.drop_index("ix_exposures_kind_contrast_err")
        batch_op.drop_index("ix_exposures_kind_contrast")
        batch_op.drop_index("ix_exposures_kind_box_rate_err")
        batch_op.drop_index("ix_exposures_kind_box_rate")
        batch_op.drop_index("ix_exposures_kind_box_count")
        batch_op.drop_index("ix_exposures_association")

    op.drop_table("exposures")
    op.drop_table("associations")

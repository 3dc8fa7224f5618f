"""Sphinx's settings of the documentation: the pages of this folder, and the reference from the docstrings."""

from sbcdark import __version__

project = "sbcdark"
copyright = "the sbcdark authors"
release = version = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_nb"]
exclude_patterns = ["_build"]
nb_execution_mode = "force"  # the notebooks are committed without outputs
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_output_stderr = "warn"  # a warning in a cell is a warning of the build, and so an error
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
html_theme = "alabaster"
html_theme_options = {
    "description": "Darks of HST ACS/SBC",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "body_max_width": "880px",
}
html_static_path = ["_static"]
html_css_files = ["site.css"]

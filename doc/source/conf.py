# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys
from importlib import metadata

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_extensions"))
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))  # for the lab's catalogue

project = "nova-diskaudit"
author = "The nova-diskaudit developers"
copyright = "The nova-diskaudit developers, Apache License 2.0"
release = metadata.version("nova-diskaudit")

extensions = [
    "apiref",
    "catalogue",
    "myst_parser",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
]
exclude_patterns = ["_extensions"]
nitpicky = True
smartquotes = False  # options and codes are to be copied
html_theme = "alabaster"
html_theme_options = {"page_width": "75em", "sidebar_width": "14em", "show_powered_by": False}
html_extra_path = ["schema"]

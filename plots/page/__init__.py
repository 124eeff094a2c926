# SPDX-License-Identifier: Apache-2.0
"""A page that shows results; made by plots/make_page.py. What it shows: docs/page.md."""

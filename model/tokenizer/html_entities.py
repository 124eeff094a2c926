# SPDX-License-Identifier: Apache-2.0
"""Writes the table of HTML entities for prompt_cleaning.cpp: python html_entities.py OUTPUT."""

import html.entities
import sys


def u16_literal(text: str) -> str:
    """One literal per UTF-16 unit, so that no hexadecimal escape runs into the next character."""
    units = text.encode("utf-16-le")
    return " ".join(f'u"\\x{units[i] | units[i + 1] << 8:04x}"' for i in range(0, len(units), 2))


with open(sys.argv[1], "w", encoding="ascii") as out:
    for name in sorted(html.entities.html5):
        out.write(f'{{u"{name}", {u16_literal(html.entities.html5[name])}}},\n')

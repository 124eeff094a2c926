# SPDX-License-Identifier: Apache-2.0
"""The pieces of the batch, most valuable first."""
from __future__ import annotations

from context import Context, Piece

from . import calibrate, emulated, parts, probe, sanitizer, single, spin


def all_pieces(context: Context) -> list[Piece]:
    fitting, headline = calibrate.pieces(context)
    return [probe.piece(context), single.piece(context), *emulated.first_pieces(context), fitting, spin.piece(context), parts.piece(context),
            emulated.whole_piece(context), headline, sanitizer.piece(context)]

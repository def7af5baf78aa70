#!/usr/bin/env python3
"""Writes src/cli/cell_width_table.h: which characters take no cell of a terminal, and which two.

The rules are those of glibc's wcwidth: marks (Mn, Me) and format characters (Cf) take none, East
Asian Wide and Fullwidth take two. Python's unicodedata is where the classes come from:

    python3 scripts/cell_widths.py > src/cli/cell_width_table.h
"""

import unicodedata

FIRST = 0x300  # no character before has another width than one
# Format characters with a shape of their own: number signs of Arabic, Syriac and Kaithi.
SEEN = [0xAD, *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD]
# Vowels and final consonants of Hangul that join the consonant before them.
JOINED = [*range(0x1160, 0x1200), *range(0xD7B0, 0xD800)]
# Pictures of two cells that Unicode leaves to the font.
PICTURES = [*range(0x3248, 0x3250), *range(0x4DC0, 0x4E00)]


def width(code):
    """Cells, or None for a code point without a character."""
    category = unicodedata.category(chr(code))
    if code in JOINED or (category in ("Mn", "Me", "Cf") and code not in SEEN):
        return 0
    if category == "Cn":
        return None
    return 2 if code in PICTURES or unicodedata.east_asian_width(chr(code)) in "WF" else 1


def ranges(wanted):
    """Runs of that width; code points without a character interrupt none."""
    out, first, last = [], None, None
    for code in range(FIRST, 0x110000):
        cells = width(code)
        if cells == wanted:
            first, last = (code if first is None else first), code
        elif cells is not None and first is not None:
            out.append((first, last))
            first = None
    return out + ([(first, last)] if first is not None else [])


def table(name, wanted):
    rows = ", ".join(f"{{0x{a:X}, 0x{b:X}}}" for a, b in ranges(wanted))
    return f"inline constexpr CellRange {name}[] = {{{rows}}};\n"


print(f"""// Written by scripts/cell_widths.py from Unicode {unicodedata.unidata_version}.
#pragma once

namespace heed::cli {{

struct CellRange {{
  char32_t first, last;
}};

{table("kNoCell", 0)}
{table("kTwoCells", 2)}
}}  // namespace heed::cli""")

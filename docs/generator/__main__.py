"""Writes the generated pages under docs/; `make docs` runs it, a test holds them fresh."""

from __future__ import annotations

import sys

from docs.generator import PAGES

for path, page in PAGES.items():
    path.write_text(page(), encoding="utf-8")
    print(f"wrote {path}", file=sys.stderr)

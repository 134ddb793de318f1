"""Synthetic H&E-like slides with known truth, for demos and tests. Drawn by rules, of no clinical meaning."""

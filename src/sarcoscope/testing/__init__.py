"""Contract suites and strategies, shipped for whoever adds a reader; for tests only, never imported by the rest."""

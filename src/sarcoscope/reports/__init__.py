"""Reports of diagnosed slides: map, pie, HTML. Reads artefacts only, never a slide or a bundle; no torch."""

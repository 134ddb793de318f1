"""One verb of the work each: config in, artefacts read and written, resume and provenance."""

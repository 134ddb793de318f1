"""The only door to our files: tiles, diagnoses, bundles, manifests, GeoJSON. Versioned schemas, atomic writes."""

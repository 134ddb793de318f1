"""Nouns: slides, tiles, diagnoses, boxes and errors. Knows numpy and nothing heavier."""

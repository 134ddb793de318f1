"""Tiles, slides and labels to batches."""

"""Fitting one network."""

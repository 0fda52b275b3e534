"""Texts become ranges, and ranges become scales."""

"""Helpers that several test folders share (pytest's `pythonpath` names this folder's parent)."""

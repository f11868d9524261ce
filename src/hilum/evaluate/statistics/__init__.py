"""Intervals and comparisons: patients are drawn, never images.

bootstrap    percentile intervals, paired differences, DeLong's test, Holm's correction
reweighted   metrics as functions of how often each image counts, so that a draw only sums up
"""

"""Thresholds and maps, chosen on validation data only.

operating_points   a threshold for a stated aim
calibration        temperature, logistic and isotonic maps; conformal thresholds
validation         aims and maps by name, chosen on one split and applied to another
search, fusion_search    options, such as those of a fusion, chosen on folds
sweep              metrics over grids of thresholds and epochs, for looking at
bundle             a bundle with new operating points and maps
"""

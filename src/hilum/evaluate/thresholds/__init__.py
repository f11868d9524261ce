"""Thresholds and maps, chosen on validation data only.

operating_points   a threshold for a stated aim
calibration        temperature, logistic and isotonic maps; conformal thresholds
validation         aims and maps by name, chosen on one part and applied to another
search             options of anything, chosen on folds
fusion_search, mask_search    those of a fusion; those of a pipeline's masks
sweep              metrics over grids of thresholds and epochs, for looking at
bundle             a bundle with new operating points and maps
"""

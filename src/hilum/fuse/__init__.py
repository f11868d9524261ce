"""Several findings of one radiograph become one. Knows nothing of DICOM, torch or files.

outputs    raw outputs of folds -> one, before suppression; percentile and uniform shrink
suppress   greedy suppression of one list, and the votes of what it drops
weighted   weighted boxes fusion over models
classic    suppression, soft suppression, union and votes over models
scores     classifier × detector, images -> study, the 2nd place's filter
masks      probability maps -> masks
lists      the checks that all of them share
"""

from hilum.fuse.classic import nms, nmw, soft_nms, union, vote_average
from hilum.fuse.masks import mean_map, remove_small, triplet_mask
from hilum.fuse.outputs import average_outputs, percentile_shrink, scale_boxes
from hilum.fuse.scores import (
    classifier_times_detector,
    combine_by,
    filter_second_place,
    none_score,
    study_score,
)
from hilum.fuse.suppress import keep_best, keep_voted, nested
from hilum.fuse.weighted import weighted_boxes

__all__ = [
    "average_outputs",
    "classifier_times_detector",
    "combine_by",
    "filter_second_place",
    "keep_best",
    "keep_voted",
    "mean_map",
    "nested",
    "nms",
    "nmw",
    "none_score",
    "percentile_shrink",
    "remove_small",
    "scale_boxes",
    "soft_nms",
    "study_score",
    "triplet_mask",
    "union",
    "vote_average",
    "weighted_boxes",
]

"""Predictions and truth -> numbers with intervals. Knows no model; pixels only of masks.

In the order of the flow:
prediction_files   predictions on disk, in the challenges' forms and ours
score_tables       tables of image scores by anybody's classifier
truth              what a catalog says of an image
asked              whether both sides speak of the finding that is asked for
answers            which prediction is of which image, in the image's pixels; what was left out
cases              truth and predictions of one finding, row by row
metrics/           names of all numbers; boxes, matching, detection, FROC, curves, masks, classes
statistics/        bootstrap over patients, comparisons; metrics made fast for it
finding_metrics    the numbers of one finding; the same for an epoch, a report and a comparison
evaluation         all numbers of one model: with intervals, or as a dict for one epoch
breakdown          which true boxes are found, by size, place and number
classes, studies   exclusive classes; studies from their images
segmentation       masks of a run against those of a catalog; the smallest component worth keeping
compare, models    several models on the same images
ensemble           several prediction files -> one
thresholds/        operating points, calibration, conformal thresholds, sweeps, a new bundle
pseudo_labels      a model's sure answers as annotations of images that have none
kept_cases         answers of a finished network beside the truth, kept
epochs             unsuppressed predictions of a training's epochs, and heat-maps of thresholds
challenges/        the challenges' own scores of their own files
"""

from hilum.core.calibration import Isotonic, Logistic, Temperature, score_map
from hilum.core.manifest import OperatingPoint
from hilum.evaluate.challenges.rsna import rsna_image_score, rsna_per_image, rsna_score
from hilum.evaluate.challenges.siim_acr import siim_acr_per_image, siim_acr_score
from hilum.evaluate.challenges.siim_covid import siim_covid_score, siim_covid_solution
from hilum.evaluate.challenges.tables import rsna_predictions, rsna_truth
from hilum.evaluate.metrics.classification import (
    at_threshold,
    classification,
    confusion_matrix,
    expected_calibration_error,
    multiclass,
    reliability,
)
from hilum.evaluate.metrics.curves import (
    auc,
    auc_interval,
    average_precision,
    precision_recall_curve,
    roc_curve,
)
from hilum.evaluate.metrics.detection import coco_metrics, detection_ap
from hilum.evaluate.metrics.froc import (
    Froc,
    any_box_classification,
    false_positives_per_normal_image,
    froc,
)
from hilum.evaluate.metrics.masks import dice, f_beta, hausdorff, iou
from hilum.evaluate.statistics.bootstrap import (
    Comparison,
    Interval,
    Reweighted,
    bootstrap,
    delong,
    holm,
    paired_bootstrap,
)
from hilum.evaluate.statistics.reweighted import ap_of, auc_of, mean_of, rsna_of
from hilum.evaluate.thresholds.calibration import (
    box_hits,
    conformal_missed_boxes,
    conformal_risk,
    conformal_sensitivity,
    fit_exclusive,
    fit_isotonic,
    fit_logistic,
    fit_temperature,
)
from hilum.evaluate.thresholds.operating_points import (
    for_best,
    for_best_boxes,
    for_false_marks,
    for_false_positives,
    for_rsna_score,
    for_sensitivity,
    sensitivity_at_specificity,
)
from hilum.evaluate.thresholds.search import Searched, search

__all__ = [
    "Comparison",
    "Froc",
    "Interval",
    "Isotonic",
    "Logistic",
    "OperatingPoint",
    "Reweighted",
    "Searched",
    "Temperature",
    "any_box_classification",
    "ap_of",
    "at_threshold",
    "auc",
    "auc_interval",
    "auc_of",
    "average_precision",
    "bootstrap",
    "box_hits",
    "classification",
    "coco_metrics",
    "conformal_missed_boxes",
    "conformal_risk",
    "conformal_sensitivity",
    "confusion_matrix",
    "delong",
    "detection_ap",
    "dice",
    "expected_calibration_error",
    "f_beta",
    "false_positives_per_normal_image",
    "fit_exclusive",
    "fit_isotonic",
    "fit_logistic",
    "fit_temperature",
    "for_best",
    "for_best_boxes",
    "for_false_marks",
    "for_false_positives",
    "for_rsna_score",
    "for_sensitivity",
    "froc",
    "hausdorff",
    "holm",
    "iou",
    "mean_of",
    "multiclass",
    "paired_bootstrap",
    "precision_recall_curve",
    "reliability",
    "roc_curve",
    "rsna_image_score",
    "rsna_of",
    "rsna_per_image",
    "rsna_predictions",
    "rsna_score",
    "rsna_truth",
    "score_map",
    "search",
    "sensitivity_at_specificity",
    "siim_acr_per_image",
    "siim_acr_score",
    "siim_covid_score",
    "siim_covid_solution",
]

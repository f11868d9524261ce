"""Numbers of arrays. Knows no catalog, no file and no patient.

names            every number by its name, in words
boxes, matching  true and predicted boxes, checked; which finds which, by COCO's rules
detection, froc  AP and recall as COCO; lesions against false marks
curves           ROC, precision-recall, DeLong
classification   numbers at a fixed threshold; reliability; confusion of K classes
masks            Dice, IoU, F scores, Hausdorff distance
"""

"""Masks and annotations in the forms of others.

runs          run lengths <-> masks (SIIM-ACR)
polygons      polygons and COCO segmentations <-> masks
file_names    names of images -> safe names of files, each its own
image_names   what an export calls each image and split of a catalog
coco, voc, yolo, mask_files   a catalog's annotations -> files (back: hilum.data.adapters)
"""

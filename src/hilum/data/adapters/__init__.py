"""One module per public set or format: the directory a user has after unzipping it -> Catalog.

In the order of the flow:
    source     the directory: tables, files, and the ledger of what could not be used
    values     cells -> labels, ages, sexes, splits, patients
    match      which file an annotation means; ids of images
    headers    DICOM headers and sizes of images
    trees      what the folders of a tree say of its images
    turned     annotations of images that EXIF data turns
    user_table a table of one's own, in its own words
    box_table  a table with a row a box, whatever form its boxes have
    boxes      rows of boxes -> columns of the catalog
    mined      findings that reports mention, deny or doubt
    sidecar    hilum-images.csv: what an export of hilum keeps beside the annotations

and the sets: rsna, siim_covid, siim_acr, nih, vindr, chexpert, mimic_cxr; coco, voc, yolo, folder.
"""

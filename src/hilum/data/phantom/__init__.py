"""Made-up radiographs with their truth.

anatomy    where organs and findings lie
exposure   what a detector sees of them
phantom    one phantom: pixels, boxes, masks
encode     pixels -> a DICOM file, in every transfer syntax
sets       many, in a folder with their truth
"""

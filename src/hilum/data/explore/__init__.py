"""What is in a data set.

explore       counts of the catalog, facts of a sample of its files
style         how figures look
box_figures   figures of the boxes
figures       the other figures, and all of them in their order

The page is report/explore.
"""

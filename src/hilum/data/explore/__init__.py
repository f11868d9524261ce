"""What is in a data set.

explore   counts of the catalog, facts of a sample of its files
figures   the same, drawn
page      the report
"""

"""What is wrong with a data set.

files      reads every file once: readable, size, picture, masks
findings   catalog and facts -> problems, and a cleaned copy
page       the report
"""

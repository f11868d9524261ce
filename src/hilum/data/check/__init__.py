"""What is wrong with a data set.

files      reads every file once: readable, size, content, masks
boxes      what is wrong with boxes, each alone and all of a set together
masks      what is wrong with masks that are run lengths
findings   catalog and facts -> problems, and a cleaned copy
page       the report
"""

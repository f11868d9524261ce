"""Numbers and findings -> files that people read. Knows no network and trains nothing.

pages, templates/    one base and one style for every page
figures, curves      drawings with axes: the mechanism, and the figures of an evaluation
drawing              what is drawn on pixels: boxes, outlines, heat, words, sheets
evaluation, gallery  the page of an evaluation; its images
published            figures of others on the same sets
run                  the pages of a training run and of a sweep
check, explore       the pages of a data set: its problems, its figures and samples
submissions          predictions as the challenges want them
overlay, strip       findings burned into a picture; the words below it
explanation          what a score rests on, beside what was found and what readers drew
checklist/           CLAIM 2024 and TRIPOD+AI, as far as a run and a bundle know
writers/             result files of one image, behind one registry
page, results        the page and files of `hilum predict`
rewrite              these made anew, without a model
"""

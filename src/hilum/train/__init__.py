"""A recipe -> a run -> a bundle. One line for every network, in the order of the flow:

options.py     the sections of a recipe
recipe.py      a recipe, read and checked
sources.py     its catalogs: which rows, what they teach
annotations.py what a row says of its image, by the names of the recipe
splits.py      who trains, validates, is tested: by patient over all sources, proved
samples.py     rows -> prepared images with annotations; copies of held-out images leave
cache.py       the same on disk
loader.py      samplers, augmented batches
optim.py       optimiser, schedule, what is frozen
stage.py       the Lightning module: steps, epochs, what a kill must not lose
loop.py        a stage from first step to the weights it leaves
heads.py       raw heads of a network
evaluation.py  one evaluation, in source pixels, through a bundle's decoding
images.py      the images of a run, of all its sources and parts
sheet.py       validation images with truth and prediction
folder.py      the run's folder: lock, settings, data, page
run.py         all of it in order
export/        the finished run -> a bundle with its card
sweep.py       many runs: variants, grids, searches, folds
comparison.py  variants beside the first: over runs, or over patients
preview.py     what augmentation makes of the images
"""

"""Bundle + StoredImage -> Prediction -> Findings. ONNX Runtime and NumPy, no PyTorch.

session.py    a bundle's graph in ONNX Runtime, explicit threads
decode.py     raw outputs -> Prediction in source pixels
predictor.py  one bundle, one radiograph -> Prediction
views.py      the same, mirrored or smaller, mapped back
stages/       the exchangeable parts: gates, combine, boxes, masks, scores, study; one registry
pipelines/    the texts that come with hilum
ensemble.py   the stages of a box flow on prediction files
text.py       the text of a pipeline as a value
check.py      does it fit together? Everything that is known before the first image
pipeline.py   pipelines found, read, checked and changed
diagram.py    a pipeline drawn
numbers.py    operating points and calibration that stand behind its scores
loaded.py     a pipeline with its bundles open -> Findings
variants.py   several texts of one pipeline on one image: its networks answer once
answer.py     one input -> one answer, whatever happens to it
examine.py    what its bundles give, and what keeps it from running
journal.py    what a run has finished, on disk, so that it can go on
job.py        what a worker needs to know once, and the worker
pool.py       worker processes under supervision; a crash loses one input
run.py        many inputs, one answer each, in order
folder.py     many inputs -> a result folder that a stopped run goes on filling
bench.py      how fast every setting is on this machine, and whether it answers alike
tuning.py     the setting that was chosen, stored for the commands
api.py        `hilum.predict(...)`
"""

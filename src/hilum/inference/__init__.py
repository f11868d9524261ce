"""Bundle + Radiograph -> Findings. ONNX Runtime and NumPy, no PyTorch.

session.py    a bundle's graph in ONNX Runtime, explicit threads
decode.py     raw outputs -> boxes, scores and masks in source pixels
predictor.py  one bundle, one radiograph -> Findings
stages.py     the exchangeable parts of a pipeline: gates, fusion, filters, study combination
pipeline.py   the parts in order, read from YAML
journal.py    what a run has finished, on disk, so that it can go on
run.py        many inputs, one answer each, in order
pool.py       worker processes under supervision; a crash loses one input
api.py        `hilum.predict(...)`
"""

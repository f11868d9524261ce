"""A finished run -> a bundle that `hilum predict` runs, with its card.

onnx.py       the fp32 graph, checked against PyTorch
int8.py       the same in eight bits
rewrites.py   the same numbers in less time
settings.py   decoding, calibration, operating points from validation
manifest.py   what the bundle says about itself
licences.py   of the data it learnt from
figures.py    the numbers of what ships, by part, source and graph
shortcuts.py  does it lean on the source of an image, or on its grey values?
card.py       what a reader should know
bundle.py     all of it in one file
"""

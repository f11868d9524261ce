"""Values and contracts that travel between the stages. Knows none of them.

errors, extras, files, jit, look, options, labels    what everything uses
processes      how children are started
documents      JSON, YAML and TOML -> plain data
radiograph     pixels in [0, 1] and what the header said
orientation    EXIF's, of pixels and boxes
percentiles, shrink, prepare, geometry    radiograph -> the square that a network sees, and back
anchors        anchors and box coding: the contract between training and decoding
prediction     what one model says of one image
findings, outlines    what is shown of it
results, findings_schema    answers of a run as JSON, and back
manifest, bundle, calibration    the self-describing model
"""

"""Values and contracts that travel between the stages. Knows none of them.

errors, extras, files, jit, look, options, labels    what everything uses
folders        whose an output folder is: one run's at a time
processes, threads    how a command and its children hear that they are to end; work in threads
progress       what a long work is doing now
turns          a few places, shared fairly between those who ask
csv_cells      cells of CSV that a spreadsheet takes for no formula
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

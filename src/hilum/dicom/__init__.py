"""File or bytes -> StoredImage -> Radiograph. Imports hilum.core only.

limits.py    how large, deep and inflated an input may be
part10.py    bytes -> parsed header and the pixel element, bounded
scan.py      walks a data set without recursion: depth, number of elements, truncation
header.py    typed, warning-free access to elements
image.py     the Image Pixel module, checked; native pixels
syntaxes.py  the one table of compressed transfer syntaxes
codecs.py    compressed pixels: imagecodecs plugged into pydicom, plain pydicom as fall-back
lookup.py    Modality and VOI look-up tables and windows
pixels.py    stored values -> [0, 1], the grey-scale pipeline
plane.py     view, orientation, size and shape of pixels, by the header
masks.py     padding, shutters, burned-in borders
looks.py     few greys, wide borders, magnification: what pixels alone tell
raster.py    PNG, JPEG, WebP
source.py    path, bytes, stream -> name and bytes; foreign errors -> refusals
stored.py    path or bytes -> StoredImage (header parsed, pixels undecoded) -> Radiograph
stream.py    what a compressed frame says of itself: codec, bits, sign, size
depth.py     which bits of a frame are its values, where header and pixels disagree
frames.py    the pixel element -> one grey frame, whatever its transfer syntax says
several.py   frames by their numbers, as they are stored
transcode.py an object written anew: one frame of several, or explicit little endian
read.py      both halves of stored.py in one step
analysed.py  an analysed image with its source: what writers of results take
reading.py   how a run reads its inputs: one value that travels to every worker
discover.py  folders, zips, DICOMDIR -> items to read
gate.py      is it a chest radiograph, by its own header
description.py   what a file is, as plain data
dump.py      every element as text, identifiers hidden
deidentify.py    an image without its identity (PS3.15 Annex E)
copies.py        many such, in a folder
confidential.py  which elements may stay in it
pseudonyms.py    secret-keyed patients, UIDs, days
codestream.py    blanks text inside compressed streams
guard.py     the same reading in a child process with hard limits
web.py       another system's DICOMweb (extras serve, scale)
"""

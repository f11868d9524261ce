"""Several findings of one radiograph become one.

`suppress` drops overlapping boxes of one list. Works on arrays in any unit; knows nothing of
DICOM, torch, models or files.
"""

from hilum.fuse.suppress import keep_best

__all__ = ["keep_best"]

"""The three challenges' scores, as their organisers compute them.

tables                       reads and checks the challenges' own files
rsna, siim_covid, siim_acr   the scores
from_catalog                 the truth of a part that was held out, in a challenge's own form
scores                       the score of a submission file, by the challenge's name
"""

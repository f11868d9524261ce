"""Whether what comes in and goes out is still what it was.

drift      two-sample tests of blocks of studies against a reference, with a stated false-alarm rate
watch      the studies of the records: reference, blocks, alarms
agreement  what readers say of the results
shadow     a new pipeline beside the shown one: the shift of its scores
"""

"""What is too much for one process, on the cores of a machine or a Ray cluster.

An archive -> Parquet shards of findings, in the order in which an input passes them:

    sources.py    folder, list, Parquet of paths, URL, query -> items to read; reads no image
    dicomweb.py   the query of a DICOMweb server, and its images one by one
    shards.py     items -> shards by hash; one shard of answers -> one Parquet file, whole or absent
    manifest.py   which shards are finished, so that a killed run goes on
    cluster.py    Ray, started here or found; shards on its actors
    batch.py      these together

A recipe -> a run:

    training.py   hilum.train's ranks, started and restarted by Ray Train

No other file than cluster.py and training.py knows Ray.
"""

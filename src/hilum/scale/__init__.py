"""An archive -> Parquet shards of findings, on the cores of a machine or a Ray cluster.

In the order in which an input passes them:

    sources.py    folder, list, Parquet of paths, URL, query -> items to read; reads no image
    dicomweb.py   the query of a DICOMweb server, and its images one by one
    shards.py     items -> shards by hash; one shard of answers -> one Parquet file, whole or absent
    manifest.py   which shards are finished, so that a killed run goes on
    cluster.py    shards on Ray's actors; the only file that knows Ray
    batch.py      these together
"""

"""One module per public set: the directory a user has after unzipping -> Catalog."""

"""Tables of the catalog, the rows a batch touches, and the queries of the read door."""

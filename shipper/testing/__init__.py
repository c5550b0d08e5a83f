"""`shipper test`: cases of a configuration in YAML files, run through the real stages, and what differs.

`cases` reads them, `trial` runs them, `compare` and `samples` say what differs, `report` writes it down.
"""

"""What Braze Currents leaves in a bucket: paths, listings, event types, the rows of a unit. Read ``listing`` first for
which files there are, ``unit_reader`` for how their rows are read, ``catalog`` for what Braze sends.
"""

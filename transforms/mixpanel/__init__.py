"""What Mixpanel takes: the lines of a unit, by name and limit. Read ``unit_writer`` first, then ``outcomes`` for what
becomes of a row and ``events`` for how it is written.
"""

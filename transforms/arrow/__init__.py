"""Arrow arrays of strings as numbers: distinct values, numbering, hashes. It knows nothing of Braze. Read ``columns``
first.
"""

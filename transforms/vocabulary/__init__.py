"""The words of the outputs, each with its meaning, stated once: read ``terms`` first, then ``rows``, ``files``,
``changes``, ``persons`` and ``outputs``, which hold a table for each kind of word.
"""

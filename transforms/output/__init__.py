"""The output folder: whose it is, what it may hold, how a run in it becomes visible. Read ``claims`` first, then
``publication``.
"""

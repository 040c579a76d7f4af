"""The report of a run, as figures and as a page.

Read ``figures`` first for what must add up, then ``report_json`` for what it becomes, and ``page``.
"""

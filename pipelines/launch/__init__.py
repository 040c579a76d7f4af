"""How the graph is run: on this machine in one process or two (``local``), or on a cluster (``remote``). Read ``local``
first.
"""

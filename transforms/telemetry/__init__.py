"""What the processes of a run say about themselves: ``tally`` counts what must add up, ``progress`` shows how far they
are.
"""

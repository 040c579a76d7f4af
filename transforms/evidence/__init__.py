"""What rows say about who is who: ids, and the links between them. Read ``ids`` first for the terms, then
``unit_evidence``, the narrow pass over one unit.
"""

"""Deletions at Mixpanel: who must go, asked for in requests of their own, with a ledger of their own. Read ``wanted``
first.
"""

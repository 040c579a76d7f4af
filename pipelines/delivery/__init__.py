"""The command that delivers a run: flags, words, and how it is carried through. Read ``work`` first; what is sent and
what an answer means is in ``transforms.delivery``.
"""

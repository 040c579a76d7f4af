"""The command that delivers a run: flags, words, and how it is carried through."""

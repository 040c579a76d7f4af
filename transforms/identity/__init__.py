"""The resolver: all evidence in, persons and the proof out, on arrays of numbers. Read ``docs/identity.md`` first for
the definition, then ``forest``; ``invariants`` shares nothing with it on purpose.
"""

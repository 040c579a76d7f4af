"""What may leave: rules that drop and hash values, the key of the hashes, and what personal values look like. Read
``rules`` first for what a rule names, then ``veil`` for what is done with it.
"""

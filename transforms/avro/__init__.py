"""Avro, whoever wrote it: containers walked block by block, blocks decoded, damage bounded. Read ``container`` first,
then ``decode``, which chooses among the three readers.
"""

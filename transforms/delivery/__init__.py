"""What a delivery is made of: batches, requests, answers, the lease and the ledger. Read ``batches`` first, then
``sender``; ``pipelines.delivery`` carries it through.
"""

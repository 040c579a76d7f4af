"""Generator of exports that look like Braze's: people (who), funnels (what they do), rows (when), files (where). Read
``__main__`` first.
"""

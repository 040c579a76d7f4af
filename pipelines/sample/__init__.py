"""Generator of exports that look like Braze's: people (who), funnels (what they do), rows (when), layout (where)."""

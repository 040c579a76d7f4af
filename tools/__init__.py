"""What a maintainer runs by hand; nothing of the product imports it."""

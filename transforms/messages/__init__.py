"""What travels between the steps: bytes behind a tag, and what they hold. Read ``elements`` first; ``inspecting`` shows
them as dicts.
"""

"""Where files are: one small interface for disks, GCS, S3, Azure and what Beam can reach. Read ``store`` first, then
``objects`` for what the clouds have in common.
"""

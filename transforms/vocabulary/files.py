"""What can be wrong with a file, and why one that was listed is not read."""

from __future__ import annotations

from transforms.vocabulary.terms import Term, Terms

DAMAGE = Terms(
    "a reason of damage",
    __name__,
    Term("empty_file", "the file has 0 bytes"),
    Term("gzip", "the file is a damaged gzip, or a gzip of something else than an Avro file"),
    Term("not_avro", "the file does not begin as an Avro file does"),
    Term("header", "the header is damaged, or its schema is not that of a record"),
    Term("truncated", "the file ends, or another one begins, inside its header or a block"),
    Term("codec_unknown", "the codec of the blocks is not one that Avro names"),
    Term("missing_column", "the schema has no `id` or no `time`"),
    Term("column_type", "a column of ids is not a string, or `time` is neither a whole number nor a timestamp"),
    Term("event_type_unknown", "the schema has a tool's name and the path no `event_type=`"),
    Term("sync_marker", "the sync marker behind a block is damaged"),
    Term("block_corrupt", "a block does not decompress, or is not exactly the rows that its header counts"),
    Term("block_too_large", "a block holds more than `--max_block_mb` when decompressed"),
    Term("joined_files", "a second file follows as bytes in the same file, and cannot be read as one with it"),
    Term("invalid_utf8", "a text is not UTF-8, and the block is not its rows with U+FFFD in that text either"),
)

NOT_READ = Terms(
    "a reason not to read a file",
    __name__,
    Term("hidden", "hidden (their names, or those of folders, begin with `.` or `_`)"),
    Term("other_name", "named unlike an export, and looking like one"),
    Term("skipped", "left out by `--skip`"),
    Term("outside_hours", "outside `--since` and `--until`"),
    Term("unfinished_hour", "left for later: their hour is not over by the clock of the run"),
    Term("archived", "archived, left out by `--skip_archived`"),
    Term("linked_twice", "read elsewhere, found again behind a link"),
    Term("link_nowhere", "links that lead nowhere"),
    Term("placeholder", "placeholders of a cloud drive, which has not downloaded the files"),
    Term("not_regular", "pipes, sockets or devices"),
    Term("empty_object", "objects without bytes, as tools mark folders in a store"),
)
"""In the order of the report; the words follow a number of files."""

"""The commands: the job itself, and the sample export.

Arrow's and DataFusion's allocator gives freed memory back after ten milliseconds, and the next chunk of rows then pays
for it to be zeroed again; a second costs little at the peak and saves a tenth of the job's CPU. It reads its setting
when it is loaded, which is why this stands here.
"""

import os

os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")

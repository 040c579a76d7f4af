"""What Dataflow's launcher runs (FLEX_TEMPLATE_PYTHON_PY_FILE); all else is in the installed package."""

import sys

from pipelines.flex_template import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

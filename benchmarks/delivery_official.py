"""A run sent with Mixpanel's own Python tool, as its documentation has it; only the address is another.

python benchmarks/delivery_official.py RUN URL        # with the Python that has mixpanel-utils
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from mixpanel_utils import MixpanelUtils


def main(run: str, url: str) -> None:
    """The tool takes a list of all events, or a file that it makes one of."""
    tool = MixpanelUtils(
        "secret", token="token", service_account_username="account", project_id=1, strict_import=True, pool_size=10
    )
    tool.import_api = url
    events = []
    for path in sorted(Path(run, "events").iterdir()):
        with gzip.open(path) as file:
            events += [json.loads(line) for line in file]
    tool.import_events(events, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

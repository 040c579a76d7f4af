"""The image of deploy/container: what it is made of is there, and what its README says can be obeyed."""

from __future__ import annotations

import re

from pipelines.delivery import flags
from tests.whole_run import ROOT

CONTAINER = ROOT / "deploy" / "container"


def test_what_the_image_copies_is_sent_to_it_and_is_there() -> None:
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    sent = re.findall(r"^!(.+)$", (CONTAINER / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()]
    assert sorted(copied) == sorted(sent)
    assert all((ROOT / name).exists() for name in copied)
    assert '"currents-to-mixpanel=currents_to_mixpanel:job"' in (ROOT / "setup.py").read_text()
    assert 'ENTRYPOINT ["currents-to-mixpanel"]' in dockerfile


def test_the_commands_of_the_readme_can_be_obeyed() -> None:
    page = (CONTAINER / "README.md").read_text()
    commands = [
        re.search(r"deliver (--input .*)", page)[1].split(),  # type: ignore[index]
        re.search(r"--args=deliver,(.*)", page)[1].split(","),  # type: ignore[index]
        re.search(r"args: \[deliver, (.*)\]", page)[1].replace('"', "").split(", "),  # type: ignore[index]
    ]
    for command in commands:
        found = flags.parse(command)
        assert (found.yes, found.project_id, found.region) == (True, "1234567", "eu")

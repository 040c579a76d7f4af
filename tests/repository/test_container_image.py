"""The image of deploy/container: what it is made of is there, and what its README says can be obeyed."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from pipelines.command_line import flags as job_flags
from pipelines.command_line.exit_status import Status
from pipelines.delivery import flags
from tests.commands.whole_run import ROOT
from tests.repository.packaging_metadata import project
from tests.servers.tools import require_module

CONTAINER = ROOT / "deploy" / "container"


def test_what_the_image_copies_is_sent_to_it_and_is_there() -> None:
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    sent = re.findall(r"^!(.+)$", (CONTAINER / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()]
    assert sorted(copied) == sorted(sent)
    assert all((ROOT / name).exists() for name in copied)
    assert project()["scripts"]["currents-to-mixpanel"] == "currents_to_mixpanel.own_packages:job"
    assert 'ENTRYPOINT ["currents-to-mixpanel"]' in dockerfile


def test_the_commands_of_the_readme_can_be_obeyed() -> None:
    page = (CONTAINER / "README.md").read_text()
    commands = [
        re.search(r"^ +deliver (--input .*)", page, re.MULTILINE)[1].split(),  # type: ignore[index]
        re.search(r"--args=deliver,(.*)", page)[1].split(","),  # type: ignore[index]
        re.search(r"args: \[deliver, (.*)\]", page)[1].replace('"', "").split(", "),  # type: ignore[index]
    ]
    for command in commands:
        found = flags.parse(command)
        assert (found.yes, found.project_id, found.region) == (True, "1234567", "eu")


INSTRUCTIONS = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT"}


def test_the_dockerfile_is_made_of_what_it_needs_and_ends_as_a_user_without_rights() -> None:
    """No daemon is here to build it; these are the rules that a linter of Dockerfiles would hold it to."""
    text = (CONTAINER / "Dockerfile").read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    steps = [line.split(maxsplit=1) for line in lines]
    names = [name for name, _ in steps]
    assert set(names) == INSTRUCTIONS
    assert names.index("FROM") == 1, "after the ARG of its version alone"
    assert (names.count("FROM"), names.count("ENTRYPOINT"), names[-1]) == (1, 1, "ENTRYPOINT")
    first = dict(steps)["FROM"]
    assert re.fullmatch(r"python:\$\{PYTHON\}-slim", first)
    assert not first.endswith(":latest")
    declared = {value.partition("=")[0] for name, value in steps if name == "ARG"}
    assert set(re.findall(r"\$\{(\w+)\}", text)) == declared
    assert not re.search("SECRET|PASSWORD|ACCOUNT|MIXPANEL", text), "secrets come when it runs"
    users = [value for name, value in steps if name == "USER"]
    assert users == ["10001"]
    assert names.index("USER") > max(at for at, (_, value) in enumerate(steps) if "pip install" in value)
    assert json.loads(dict(steps)["ENTRYPOINT"]) == ["currents-to-mixpanel"], "signals reach it without a shell"
    for value in (value for name, value in steps if name == "RUN" and "pip install" in value):
        assert "--no-cache-dir" in value
        assert "--constraint constraints.txt" in value


def yaml_of_the_readme() -> Any:
    yaml = require_module("yaml")
    found = re.search(r"```yaml\n(.*?)```", (CONTAINER / "README.md").read_text(), re.DOTALL)
    assert found
    return yaml.safe_load(found[1])


def test_the_job_of_kubernetes_mounts_the_secret_that_its_variable_names_and_resumes() -> None:
    spec = yaml_of_the_readme()["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    (variable,) = container["env"]
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    page = (CONTAINER / "README.md").read_text()
    created = re.search(r"kubectl create secret generic (\S+) --from-file=(\S+)=", page)
    assert created
    assert variable == {"name": "MIXPANEL_SERVICE_ACCOUNT_FILE", "value": f"{mount['mountPath']}/{created[2]}"}
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)
    assert volume["secret"]["secretName"] == created[1]
    assert pod["restartPolicy"] == "Never", "a policy for failures asks for it"
    assert (spec["parallelism"], spec["backoffLimit"] > 0) == (1, True)
    stops = [rule for rule in spec["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert [rule["onExitCodes"]["values"] for rule in stops] == [[Status.REFUSED, Status.LOOK, Status.LIMIT]]


def test_the_job_of_cloud_run_mounts_the_secret_that_its_variable_names_and_resumes() -> None:
    page = (CONTAINER / "README.md").read_text()
    found = re.search(r"gcloud run jobs create (.*?)\n(?=gcloud)", page, re.DOTALL)
    assert found
    words = shlex.split(found[1].replace("\\\n", " "))
    given = {word: words[at + 1] for at, word in enumerate(words[:-1]) if word.startswith("--")}
    path, _, secret = given["--set-secrets"].partition("=")
    assert given["--set-env-vars"] == f"MIXPANEL_SERVICE_ACCOUNT_FILE={path}"
    assert f"gcloud secrets create {secret.partition(':')[0]} --data-file=" in page
    assert (int(given["--max-retries"]) > 0, given["--tasks"]) == (True, "1")


def test_the_job_that_makes_the_run_can_be_obeyed_too() -> None:
    page = (CONTAINER / "README.md").read_text()
    found = re.search(r"^ +run (--input .*)", page, re.MULTILINE)
    assert found
    parsed = job_flags.parser().parse_args(found[1].split())
    assert (parsed.input, parsed.output) == ("/data/exports", "/data/out")

"""What the verbs have in common: short help, one version, hyphens in flags, the flag that was meant, runners apart."""

from __future__ import annotations

import contextlib
import functools
import io
import re

import pytest

from pipelines import catalog_entry
from pipelines import currents_to_mixpanel as command
from pipelines.command_line import flags, options, runner_options
from pipelines.command_line.parser import with_underscores
from pipelines.command_line.runners import RUNNERS
from pipelines.delivery import flags as delivery_flags
from pipelines.sample_export import __main__ as sample_export
from tests.repository.packaging_metadata import project

HERE = ("--input=in", "--output=out")
PARSERS = {
    "run": flags.parser,
    "deliver": delivery_flags.parser,
    "sample-export": sample_export._parser,
    "catalog-entry": catalog_entry._parser,
}
LINES, COLUMNS = 100, 100  # of two screens


def test_help_has_groups_and_three_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    text = capsys.readouterr().out
    for group in ("what is read:", "what is sent:", "who is who:", "where it goes and how it runs:"):
        assert group in text
    examples = text.split("examples:")[1]
    assert examples.count("currents-to-mixpanel --input") == 3
    for example in examples.splitlines():
        if "currents-to-mixpanel " in example:
            options.parse(example.split()[1:])


@pytest.mark.parametrize("verb", PARSERS)
def test_the_help_of_each_verb_fits_two_screens_and_its_three_examples_are_valid(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    text = PARSERS[verb]().format_help()
    usage, rest = text.split("\n\n", 1)
    assert len(usage.splitlines()) <= 2
    assert len(text.splitlines()) <= LINES
    assert max(map(len, rest.split("examples:")[0].splitlines())) <= COLUMNS
    examples = [line.split()[1:] for line in text.split("examples:")[1].splitlines() if "currents-to-mixpanel" in line]
    assert len(examples) == 3
    for words in examples:
        assert verb in ("run", words[0])
        valid = [word for word in words[verb != "run" :] if word not in (">", "entry.json")]
        PARSERS[verb]().parse_args(valid)


@pytest.mark.parametrize("verb", PARSERS)
def test_hyphens_do_for_underscores_in_every_flag(verb: str) -> None:
    parser = PARSERS[verb]()
    known = {flag for action in parser._actions for flag in action.option_strings}
    for flag in known:
        hyphened = "--" + flag[2:].replace("_", "-") if flag.startswith("--") else flag
        assert with_underscores(f"{hyphened}=a-b_c") == f"{flag}=a-b_c"
        assert parser.unknown([hyphened]) == []


def test_a_flag_with_hyphens_is_obeyed() -> None:
    found = options.parse([*HERE, "--device-links=sole", "--max-reject-share", "0.5", "--tag=a-b"])
    assert (found.settings.device_links, found.settings.max_reject_share, found.settings.tag) == ("sole", 0.5, "a-b")


@pytest.mark.parametrize("verb", PARSERS)
def test_each_verb_tells_the_one_version(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        PARSERS[verb]().parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"currents-to-mixpanel {project()['version']}\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--verison", "--version"),
        ("--help-runer", "--help_runner"),
        ("--num-worker", "--num_workers"),
        ("--wokers", "--workers"),
        ("--job", "--json"),  # and not --job_name
        ("--zzz", None),
    ],
)
def test_a_flag_of_ours_is_meant_before_a_runners(typed: str, meant: str | None) -> None:
    said = flags.parser().did_you_mean(typed)
    assert said == (f": did you mean {meant}?" if meant else ": --help lists them")


@functools.cache
def shown(runner: str) -> str:
    """What ``--help_runner`` shows of a runner."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert command.main([f"--help_runner={runner}"]) == 0
    return re.sub(r"\s+", " ", text.getvalue())


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_runners_help_has_its_own_options_alone_and_the_commands_help_has_none(runner: str) -> None:
    own = re.sub(r"\s+", " ", flags.parser().format_help())
    for name, runners in runner_options.RUNNERS_OF.items():
        assert (f" --{name} " in shown(runner)) == (runner in runners), name
        assert f" --{name} " not in own, name
    assert runner in shown(runner)


def test_help_for_a_runner_that_is_not_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help-runner", "FlinkRuner"]) == 2
    assert "--runner FlinkRuner is not supported: did you mean FlinkRunner?" in capsys.readouterr().err

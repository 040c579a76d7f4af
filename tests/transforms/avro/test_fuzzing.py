"""Two thousand broken files, each read as the letter of Avro says or counted as damage, in bounded time and memory."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
from collections import Counter

import pytest

from tests.commands.whole_run import ROOT
from tests.exports import fuzzing
from tests.exports.fuzzing import Different, check
from tests.exports.mutants import base, mutant
from tests.oracle.letter_reader import read_file
from transforms.avro.container import Container, read_container

MUTANTS = 2_000
MOST_GROWTH_MB = 700  # the largest mutant is 1 MB of schema


@pytest.mark.slow
def test_no_mutant_is_read_otherwise_than_the_letter_says() -> None:
    # In a process of its own: what ends one, or takes too much, is to fail this test and no other.
    command = [sys.executable, "-m", "tests.exports.fuzzing", "0", str(MUTANTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"status {done.returncode} at {lines[-1:]}: {done.stderr[-2000:]}"
    found = json.loads(lines[-1])
    assert found["mutants"] == MUTANTS
    assert not found["different"], [line for line in lines if line.startswith("different")]
    assert found["peak_grown_mb"] < MOST_GROWTH_MB
    # They are not all broken beyond reading, nor all whole.
    assert found["files whole"] > MUTANTS // 50
    assert found["files with damage"] > MUTANTS // 2
    assert found["rows equal"] > MUTANTS


def test_the_files_that_mutants_are_made_of_are_whole() -> None:
    for seed in range(60):
        seen: Counter[str] = Counter()
        content = base(random.Random(seed))
        check(content, seen)
        assert seen["files whole"] == 1
        assert sum(map(len, read_file(content).blocks.values())) == seen["rows equal"] > 0
    assert mutant(7) == mutant(7) != mutant(8)


def test_a_row_that_is_read_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    content = base(random.Random(1))

    def reads_one_less(content: bytes) -> Container:
        whole = read_container(content)
        return dataclasses.replace(whole, blocks=whole.blocks[1:])

    monkeypatch.setattr(fuzzing, "read_container", reads_one_less)
    with pytest.raises(Different):
        check(content, Counter())

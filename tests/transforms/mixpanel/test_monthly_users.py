"""Distinct persons by month and type are those that sets count."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pyarrow as pa

from transforms.mixpanel.monthly_users import PERSON_MONTHS, count_persons, month_name

TYPES = ["users.behaviors.CustomEvent", "users.messages.email.Open", "users.messages.email.Send"]


def test_distinct_persons_are_counted_by_month_and_type_as_sets_do() -> None:
    pick = random.Random(3)
    persons = [(pick.getrandbits(64), pick.random() < 0.5) for _ in range(300)]
    rows = [(*pick.choice(persons), pick.choice([-7, 600, 601, 675]), pick.choice([0, 2])) for _ in range(2_000)]
    person, known, month, kind = zip(*rows, strict=True)
    zeros = np.zeros(len(rows), np.int64)
    columns = [
        pa.array(person, pa.uint64()),
        pa.array(known),
        pa.array(month, pa.int32()),
        pa.DictionaryArray.from_arrays(pa.array(kind, pa.int32()), pa.array(TYPES)),
        pa.array(zeros.astype(bool)),
        pa.array(zeros.astype(np.uint64)),
        pa.array(zeros),
        pa.array(zeros),
    ]
    found = count_persons(pa.Table.from_arrays(columns, schema=PERSON_MONTHS))["persons"]
    for name, keys in (("by_month", map(month_name, month)), ("by_type", (TYPES[k] for k in kind))):
        expected: defaultdict[str, set[tuple[int, bool]]] = defaultdict(set)
        for key, who, is_known in zip(keys, person, known, strict=True):
            expected[key].add((who, is_known))
        assert found[name] == {
            key: {"known": sum(k for _, k in of_key), "anonymous": sum(not k for _, k in of_key)}
            for key, of_key in expected.items()
        }

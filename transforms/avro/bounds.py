"""What reading a row of a schema can cost: least bytes, values that take none, recursion; what is beyond is refused.

A schema of some hundred bytes can ask for work without end: fields that take no bytes, records that hold one another
twice, thirty times over. What is refused here never reaches an engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_SCHEMA_BYTES = 1 << 20  # Braze's largest is 6 KB
MAX_COLUMNS = 2_000
MAX_TYPES = 10_000  # in the schema, and visited for one row
MAX_NAME = 1_000  # characters
MAX_FIXED_BYTES = 1 << 20
# Values that take no bytes, of one block and of all blocks of a file: this many for nothing, and so many for each byte.
FREE_VALUES, FREE_VALUES_A_BYTE = 1 << 20, 16
_FEW = 16

# Of Avro's primitives.
LEAST_BYTES = {"null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1}


@dataclass(frozen=True)
class Cost:
    """Of one value: fewest bytes, most values without bytes outside of arrays and maps, most values likewise."""

    least: int
    free: int
    visited: int


@dataclass(frozen=True)
class Bounds:
    """Of one row, and whether only a reader that counts what it does may see the rows (``careful``)."""

    row: Cost
    careful: bool


def free_values(size: int) -> int:
    """How many values without bytes a block, or a file, of ``size`` bytes may hold."""
    return FREE_VALUES + FREE_VALUES_A_BYTE * size


class Allowance:
    """Values without bytes that the blocks of one file, read in its order, may still hold; below 0 once one had more.

    Without it a file of many tiny blocks would hold the allowance of a block many times over.
    """

    def __init__(self, file_bytes: int) -> None:
        self.most = self.left = free_values(file_bytes)


def check_size(node: Any) -> None:
    """Refuses a schema (as it stands in JSON) with too many types or too long names.

    Raises:
        ValueError: what is too many or too long, or is half of a surrogate pair.
    """
    types = 0
    waiting = [node]
    while waiting:
        node = waiting.pop()
        types += 1
        if types > MAX_TYPES:
            raise ValueError(f"more than {MAX_TYPES} types")
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            _check_names(node)
            waiting.extend(node[key] for key in ("type", "items", "values") if key in node)
            fields = node.get("fields", ())
            waiting.extend(fields if isinstance(fields, list) else ())
        else:
            _check_name(node)


def _check_names(node: dict[str, Any]) -> None:
    for key in ("name", "namespace"):
        _check_name(node.get(key))
    symbols = node.get("symbols", ())
    for symbol in symbols if isinstance(symbols, list) else ():
        _check_name(symbol)
    size = node.get("size", 0)
    if node.get("type") == "fixed" and not (type(size) is int and 0 <= size <= MAX_FIXED_BYTES):
        raise ValueError(f"a fixed of [{str(size)[:20]}] bytes")


def _check_name(name: Any) -> None:
    if isinstance(name, str):
        if len(name) > MAX_NAME:
            raise ValueError(f"a name of {len(name)} characters")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"half of a surrogate pair in the name [{name[:80]!a}]") from None


def measure(parsed: Any) -> Bounds:
    """The bounds of a record, names resolved by fastavro.

    Raises:
        ValueError: a row has no end, or too many columns or values.
    """
    if len(parsed["fields"]) > MAX_COLUMNS:
        raise ValueError(f"{len(parsed['fields'])} columns, more than {MAX_COLUMNS}")
    measuring = _Measuring()
    row = measuring.cost(parsed, frozenset())
    return Bounds(row, measuring.careful or _has_inner_int(parsed))


class _Measuring:
    """Costs by name; ``careful`` is set where the bytes do not bound what a reader does."""

    def __init__(self) -> None:
        self.careful = False
        self._known: dict[str, Cost] = {}
        self._open: set[str] = set()

    def cost(self, node: Any, within: frozenset[str]) -> Cost:
        """Of one value; ``within`` are the records that hold it with no union, array or map between."""
        if isinstance(node, str):
            if node in LEAST_BYTES:
                return Cost(LEAST_BYTES[node], int(node == "null"), 1)
            return self._named(node, within)
        if isinstance(node, list):
            branches = [self._apart(branch) for branch in node]
            least = min((branch.least for branch in branches), default=0)
            return Cost(1 + least, 0, 1 + max((branch.visited for branch in branches), default=0))
        kind = node["type"]
        if kind in ("array", "map"):
            item = self._apart(node["items" if kind == "array" else "values"])
            if kind == "array" and not item.least:
                self.careful = True
            return Cost(1, 0, 1)
        if kind == "record":
            return self._record(node, within)
        cost = Cost(node["size"], int(not node["size"]), 1) if kind == "fixed" else Cost(1, 0, 1)
        self._known[node["name"]] = cost
        return cost

    def _apart(self, node: Any) -> Cost:
        cost = self.cost(node, frozenset())
        if cost.free > _FEW:
            self.careful = True
        return cost

    def _record(self, node: Any, within: frozenset[str]) -> Cost:
        name = node["name"]
        self._open.add(name)
        costs = [self.cost(field["type"], within | {name}) for field in node["fields"]]
        self._open.discard(name)
        visited = 1 + sum(cost.visited for cost in costs)
        if visited > MAX_TYPES:
            raise ValueError(f"more than {MAX_TYPES} values in one row")
        free = sum(cost.free for cost in costs) + (not costs)
        self._known[name] = Cost(sum(cost.least for cost in costs), free, visited)
        return self._known[name]

    def _named(self, name: str, within: frozenset[str]) -> Cost:
        if name in within:
            raise ValueError(f"the record [{name[:80]}] holds itself without end")
        if name in self._open:
            self.careful = True
            return Cost(0, 0, 1)
        return self._known[name]


def _has_inner_int(parsed: Any) -> bool:
    """Whether there are ints that are not columns themselves: fastavro reads numbers beyond 32 bits for them."""
    waiting = [
        field["type"]
        for field in parsed["fields"]
        if not (field["type"] == "int" or (isinstance(field["type"], list) and len(field["type"]) <= 2))
    ]
    waiting += [
        branch
        for field in parsed["fields"]
        if isinstance(field["type"], list) and len(field["type"]) <= 2
        for branch in field["type"]
        if branch != "int"
    ]
    while waiting:
        node = waiting.pop()
        if node == "int":
            return True
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node[key] for key in ("items", "values") if key in node)
            waiting.extend(field["type"] for field in node.get("fields", ()))
    return False

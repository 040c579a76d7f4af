"""A word that outputs have (a code), with its meaning; and a table of all words of one kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar


@dataclasses.dataclass(frozen=True)
class Term:
    """One word: ``code`` as outputs have it, ``meaning`` as the report and the documentation show it.

    In a meaning, what is typed as it stands is between backticks; it is plain text otherwise.
    """

    code: str
    meaning: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name):
                raise ValueError(f"[{self.code}] has no {field.name}: say it in the table where the code stands")

    @property
    def plain(self) -> str:
        """The meaning without backticks, for a terminal."""
        return self.meaning.replace("`", "")


@dataclasses.dataclass(frozen=True)
class Labelled(Term):
    """A word that the report shows by a short name."""

    label: str


@dataclasses.dataclass(frozen=True)
class Reject(Term):
    """A reason to reject a row; ``detail`` is the sentence about such a row, with the offending value and the cure.

    In the sentence ``{name}`` stands for the row's value of that column, or for one of the values that
    ``mixpanel.reject_details`` works out. A mapping has a sentence for each case that is told apart there.
    """

    detail: str | Mapping[str, str]


AnyTerm = TypeVar("AnyTerm", bound=Term)


class Terms(Generic[AnyTerm]):
    """All words of one kind, in the order in which arrays and tables count them.

    >>> from transforms.vocabulary.persons import LINK_STATUSES
    >>> LINK_STATUSES["redundant"].meaning, LINK_STATUSES.position("redundant"), LINK_STATUSES.codes[0]
    ('its ends were one already', 1, 'accepted')
    """

    def __init__(self, kind: str, module: str, *terms: AnyTerm) -> None:
        """``kind``, with its article, and ``module``, where the table stands, are for messages about unknown codes.

        Raises:
            ValueError: two words have one code.
        """
        self._kind = kind
        self._module = module
        self._terms = terms
        self._positions = {term.code: position for position, term in enumerate(terms)}
        self.codes = tuple(self._positions)
        if len(self.codes) != len(terms):
            raise ValueError(
                f"two entries of one code for {kind} in {module}: {', '.join(term.code for term in terms)}"
            )

    def __getitem__(self, code: str) -> AnyTerm:
        """The word of a code.

        Raises:
            LookupError: there is none.
        """
        return self._terms[self.position(code)]

    def position(self, code: str) -> int:
        """The place of a code in ``codes``.

        Raises:
            LookupError: it has none.
        """
        try:
            return self._positions[code]
        except KeyError:
            raise LookupError(f"[{code}] is not {self._kind}: describe it in {self._module}") from None

    def __iter__(self) -> Iterator[AnyTerm]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

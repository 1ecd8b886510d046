"""What goes wrong with a comparison besides the calls themselves.

QuadrigaClientError
└── CompareError        nothing can be compared, or nothing that says anything: the text tells what to do
    ├── WrongOption       an option does not fit the first contestant, which was to be asked before that was known
    └── Disagreement      the contestants do not answer alike, and that was not allowed
"""

from collections.abc import Sequence

from quadriga_client.compare.likeness import Agreement
from quadriga_client.errors import QuadrigaClientError


class CompareError(QuadrigaClientError):
    """Nothing can be compared, or nothing that says anything."""


class WrongOption(CompareError):
    """An option does not fit the first contestant."""


class Disagreement(CompareError):
    """Contestants do not answer alike.

    Attributes:
        agreements: Of all, those that agree among them.
    """

    def __init__(self, agreements: Sequence[Agreement]) -> None:
        different = [agreement for agreement in agreements if not agreement.agrees]
        super().__init__("; ".join(problem for agreement in different for problem in agreement.problems))
        self.agreements = tuple(agreements)

"""What a value must be besides of its type: words for annotations, which run/signatures.py holds YAML to.

`size: Side` says that a size is a whole number of pixels, at least one and not absurdly many. At run time
`Side` is an int like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple


class Between(NamedTuple):
    """low <= number <= high; an `open` range leaves both ends out."""

    low: int | float
    high: int | float
    open: bool

    def holds(self, value: Any) -> bool:
        """Whether a number lies in it."""
        return self.low < value < self.high if self.open else self.low <= value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.open else f"of at least {self.low:g}"
        first, second = ("between", "and") if self.open else ("from", "to")
        return f"{first} {self.low:g} {second} {_plain(self.high)}"


class Rising(NamedTuple):
    """[low, high] in that order, both in a range."""

    within: Between

    def holds(self, value: Any) -> bool:
        """Whether it is two numbers of the range that do not fall."""
        return len(value) == 2 and value[0] <= value[1] and all(map(self.within.holds, value))

    def __str__(self) -> str:
        limits = "" if self.within.low == -math.inf else f", each {self.within}"
        return f"[low, high]{limits}"


class Of(NamedTuple):
    """So many numbers, not all of them zero."""

    many: int

    def holds(self, value: Any) -> bool:
        """Whether it is that many."""
        return len(value) == self.many and any(value)

    def __str__(self) -> str:
        return f"{self.many} numbers that are not all 0"


class Spoken(NamedTuple):
    """Not blank; `example` is how to write it."""

    example: str

    def holds(self, value: Any) -> bool:
        """Whether it says anything."""
        return isinstance(value, str) and bool(value.strip())

    def __str__(self) -> str:
        return f"words, such as {self.example}"


def _plain(number: int | float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


Number = int | float  # YAML writes 1000 where it means 1000.0
MAX_SIDE = 16384  # pixels of a picture
ANY = Between(-math.inf, math.inf, False)

Count = Annotated[int, Between(1, 2**31 - 1, False)]
Whole = Annotated[int, Between(0, 2**31 - 1, False)]
Seed = Annotated[int, Between(0, 2**32 - 1, False)]  # of NumPy's generator
Side = Annotated[int, Between(1, MAX_SIDE, False)]  # of a picture, pixels
Cells = Annotated[int, Between(1, 1024, False)]  # along a side of a volume: 1024^3 are a thousand million
Bits = Annotated[int, Between(1, 28, False)]  # of a table's length

Positive = Annotated[Number, Between(0, math.inf, True)]
NonNegative = Annotated[Number, Between(0, math.inf, False)]
Share = Annotated[Number, Between(0, 1, False)]
Fraction = Annotated[Number, Between(0, 1, True)]
Third = Annotated[Number, Between(0, 1 / 3, False)]
Latitude = Annotated[Number, Between(-90, 90, False)]  # degrees
Opening = Annotated[Number, Between(0, 180, True)]  # field of view, degrees

Bounds = Annotated[Sequence[Number], Rising(ANY)]
Latitudes = Annotated[Sequence[Number], Rising(Between(-90, 90, False))]
Openings = Annotated[Sequence[Number], Rising(Between(0, 180, True))]
Positives = Annotated[Sequence[Number], Rising(Between(0, math.inf, True))]
Shares = Annotated[Sequence[Number], Rising(Between(0, 1, False))]
Direction = Annotated[Sequence[Number], Of(3)]

Instruction = Annotated[str, Spoken('prompt="make it red"')]

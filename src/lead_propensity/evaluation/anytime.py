"""Intervals that may be looked at every night.

Who looks again with each night's deals at a fixed 95% interval will see it leave out the truth sooner or
later. A confidence sequence holds at all looks together: the mixture bound of Robbins ("Statistical methods
related to the law of the iterated logarithm", 1970) in the asymptotic form of Waudby-Smith et al.
("Time-uniform central limit theory and asymptotic confidence sequences", 2024). It is wider, by half or more, and
nobody needs to count the looks.
"""

import math

TUNED = 200.0
"""Won leads at which the sequence is narrowest; it holds at any number."""


def multiplier(evidence: float, error: float) -> float:
    """By how many standard errors the interval reaches to each side, where 1.96 would do for one look.

    `evidence` is the number of independent pieces seen so far, here won leads.

    >>> round(multiplier(200, 0.05), 2), round(multiplier(20_000, 0.05), 2)
    (3.04, 3.56)
    """
    spread = (-2 * math.log(error) + math.log(1 - 2 * math.log(error))) / TUNED
    grown = max(evidence, 1.0) * spread
    return math.sqrt(2 * (grown + 1) / grown * math.log(math.sqrt(grown + 1) / error))

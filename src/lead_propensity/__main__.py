"""`python -m lead_propensity` is `lead-propensity`."""

from lead_propensity.cli import main

main()

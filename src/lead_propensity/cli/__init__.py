"""The command line. Nothing else of the package prints."""

from lead_propensity.cli import erasure as erasure  # these add their commands to the app
from lead_propensity.cli import registry as registry
from lead_propensity.cli.commands import app, main

__all__ = ["app", "main"]

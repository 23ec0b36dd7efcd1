"""The command line. Nothing else of the package prints."""

# Each adds its commands to the app.
from lead_propensity.cli import commands as commands
from lead_propensity.cli import erasure as erasure
from lead_propensity.cli import monitoring as monitoring
from lead_propensity.cli import registry as registry
from lead_propensity.cli.entry import app, main

__all__ = ["app", "main"]

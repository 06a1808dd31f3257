"""`python -m mmtwin`."""

from mmtwin.cli.main import program

program()

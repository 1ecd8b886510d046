"""`python -m quadriga`: the same as the `quadriga` command."""

from quadriga.cli import main

main(prog_name="quadriga")

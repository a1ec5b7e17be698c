"""Run the command `python -m pipelines.labels`."""

from pipelines.core.cli import run_stage
from pipelines.labels.command import main

if __name__ == "__main__":
    run_stage(main)

"""Run the command `python -m pipelines.pretrain`."""

from pipelines.core.cli import run_stage
from pipelines.pretrain.command import main

if __name__ == "__main__":
    run_stage(main)

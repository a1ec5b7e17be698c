"""Run the stage `train`: `python -m pipelines.train`."""

from pipelines.core.cli import run_stage
from pipelines.train.stage import main

if __name__ == "__main__":
    run_stage(main)

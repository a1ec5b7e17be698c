"""Run the stage `weights`: `python -m pipelines.weights`."""

from pipelines.core.cli import run_stage
from pipelines.weights.stage import main

if __name__ == "__main__":
    run_stage(main)

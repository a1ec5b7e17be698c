"""Run the stage `robustness`: `python -m pipelines.robustness`."""

from pipelines.core.cli import run_stage
from pipelines.robustness.stage import main

if __name__ == "__main__":
    run_stage(main)

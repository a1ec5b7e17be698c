"""Run the stage `report`: `python -m pipelines.report`."""

from pipelines.core.cli import run_stage
from pipelines.report.stage import main

if __name__ == "__main__":
    run_stage(main)

"""Run the stage `export`: `python -m pipelines.export`."""

from pipelines.core.cli import run_stage
from pipelines.export.stage import main

if __name__ == "__main__":
    run_stage(main)

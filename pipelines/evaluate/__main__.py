"""Run the stage `evaluate`: `python -m pipelines.evaluate`."""

from pipelines.core.cli import run_stage
from pipelines.evaluate.stage import main

if __name__ == "__main__":
    run_stage(main)

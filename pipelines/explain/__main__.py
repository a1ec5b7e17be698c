"""Run the stage `explain`: `python -m pipelines.explain`."""

from pipelines.core.cli import run_stage
from pipelines.explain.stage import main

if __name__ == "__main__":
    run_stage(main)

"""Run the stage `register`: `python -m pipelines.register`."""

from pipelines.core.cli import run_stage
from pipelines.register.stage import main

if __name__ == "__main__":
    run_stage(main)

"""Run the stage `validate`: `python -m pipelines.validate`."""

from pipelines.core.cli import run_stage
from pipelines.validate.stage import main

if __name__ == "__main__":
    run_stage(main)

"""Run the stage `gate`: `python -m pipelines.gate`."""

from pipelines.core.cli import run_stage
from pipelines.gate.stage import main

if __name__ == "__main__":
    run_stage(main)

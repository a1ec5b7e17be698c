"""Run the stage `quantize`: `python -m pipelines.quantize`."""

from pipelines.core.cli import run_stage
from pipelines.quantize.stage import main

if __name__ == "__main__":
    run_stage(main)

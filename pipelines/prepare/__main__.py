"""Run the stage `prepare`: `python -m pipelines.prepare`."""

from pipelines.core.cli import run_stage
from serving.libraries import MOST_ORIGINAL_PIXELS, limit_opencv

if __name__ == "__main__":
    # OpenCV reads the limit once, when it is imported, here and in the processes that this one starts.
    limit_opencv(MOST_ORIGINAL_PIXELS)
    from pipelines.prepare.stage import main

    run_stage(main)

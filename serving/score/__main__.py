"""Score a folder of pictures, of any size, with the service's own code and model.

    python -m serving.score FOLDER --out predictions.parquet

The result has one row for each file, in path order; a file that is not a picture has a problem instead of an
answer. All cores are used; 1,680 faces of 96 px took 7 s with the sample's model on two busy cores. Run it
again after a kill, and it continues where it stopped. Exit status: 0 all files scored, 1 not done, 2 wrong
usage, 3 done, but some files have a problem.
"""

from __future__ import annotations

from contextlib import suppress

from serving.errors.operation import StartRefused
from serving.libraries import limit_opencv
from serving.preflight import read_settings


def main() -> None:
    """Score the folder that the command line names."""
    # The command reads the settings again and reports what is wrong with them.
    with suppress(StartRefused):
        limit_opencv(read_settings().max_pixels)
    from serving.score.command import main as command

    command()


if __name__ == "__main__":
    main()

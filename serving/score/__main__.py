"""Score a folder of pictures, of any size, with the service's own code and model.

    python -m serving.score FOLDER --out predictions.parquet

One row for each file, in path order; a file that is no picture has its problem instead of an answer. It uses
every core; 1,680 faces of 96 px took 7 s with the sample's model on two busy ones. Run again after a
kill, it goes on where it was. Exit status: 0 all files scored, 1 not done, 2 wrong usage, 3 done, and some
files have a problem.
"""

from __future__ import annotations

from contextlib import suppress

from serving.errors import StartRefused
from serving.libraries import limit_opencv
from serving.preflight import read_settings


def main() -> None:
    """Score what the command line names."""
    # The command reads the settings again, and says what is wrong with them.
    with suppress(StartRefused):
        limit_opencv(read_settings().max_pixels)
    from serving.score.command import main as command

    command()


if __name__ == "__main__":
    main()

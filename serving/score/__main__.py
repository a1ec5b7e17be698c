"""Score a folder of pictures, of any size, or a video with the service's own code and model.

    python -m serving.score FOLDER --out predictions.parquet
    python -m serving.score clip.mp4 --out timeline.parquet --html timeline.html

The result has one row for each file, in path order; a file that is not a picture has a problem instead of an
answer. Of a video it has one row for each face of each scored frame. All cores are used; 1,680 faces of 96 px
took 7 s with the sample's model on two busy cores. Run it again after a kill, and it continues where it
stopped. Exit status: 0 all scored, 1 not done, 2 wrong usage, 3 done, but some files have a problem, or the
video is truncated.
"""

from __future__ import annotations

from contextlib import suppress

from serving.errors.operation import StartRefused
from serving.libraries import limit_opencv, quiet_ffmpeg
from serving.preflight import read_settings


def main() -> None:
    """Score what the command line names."""
    quiet_ffmpeg()
    # The command reads the settings again and reports what is wrong with them.
    with suppress(StartRefused):
        limit_opencv(read_settings().max_pixels)
    from serving.score.command import main as command

    command()


if __name__ == "__main__":
    main()

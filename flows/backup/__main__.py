"""Run the command `python -m flows.backup`."""

from flows.backup.save import main, run

if __name__ == "__main__":
    run(main)

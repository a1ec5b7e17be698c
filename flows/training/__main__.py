"""Run the flow `training`: `python -m flows.training`."""

from flows.training.flow import main

if __name__ == "__main__":
    main()

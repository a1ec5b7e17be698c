"""Run the flow `drift`: `python -m flows.drift`."""

from flows.drift.flow import main

if __name__ == "__main__":
    main()

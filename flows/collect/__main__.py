"""Run the flow `collect`: `python -m flows.collect`."""

from flows.collect.flow import main

if __name__ == "__main__":
    main()

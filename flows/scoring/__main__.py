"""Run the flow `scoring`: `python -m flows.scoring`."""

from flows.scoring.flow import main

if __name__ == "__main__":
    main()

"""`python -m flowatlas`."""

from flowatlas.cli.main import run

if __name__ == "__main__":
    run()

"""`python -m rootspace.cli` is `rootspace`."""

from rootspace.cli import main

if __name__ == "__main__":
    main(prog_name="rootspace")

"""`python -m shipper`: the command, where it is not on PATH."""

from shipper.entry import main

if __name__ == "__main__":
    main()

"""`python -m lipscore`: the command line without the installed script."""

from lipscore.eval.cli.main import main

if __name__ == "__main__":
    main()

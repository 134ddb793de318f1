"""`python -m sarcoscope`, which is what `accelerate launch -m sarcoscope` starts in each process."""

from sarcoscope.cli.main import main

if __name__ == "__main__":
    main()

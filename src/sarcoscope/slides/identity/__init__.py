"""What in a slide says whose it is, and a copy of the slide without it."""

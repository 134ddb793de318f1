"""One file a verb: parse, call one stage, print. Heavy imports live inside the commands."""

"""A local web page on which people look through tiles and take out what does not belong."""

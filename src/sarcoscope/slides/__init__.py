"""The only door to pixels: readers behind one port, scale rules, the TIFF writer."""

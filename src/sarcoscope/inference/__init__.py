"""Members of a bundle over tiles: back ends behind one port, reading overlapped with computing."""

"""A wide-area network in a box: see docs/how-to/netlab.md."""

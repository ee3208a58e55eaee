"""The arithmetic of pressure: pages scanned and reclaimed in, a level out.  Pure."""

"""The bundle: everything needed to answer as verified, signed files, and the shelf it is served from."""

"""Published results beside this project's, one module each; see `studies.reproductions.register`."""

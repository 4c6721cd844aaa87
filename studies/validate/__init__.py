"""The models of the project against files of known results."""

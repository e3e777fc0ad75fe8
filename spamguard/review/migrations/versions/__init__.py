"""Which steps are there? Their file names say their order."""

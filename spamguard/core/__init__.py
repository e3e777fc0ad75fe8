"""The pure heart: values in, values out. No file, socket, log, clock or environment is touched here."""

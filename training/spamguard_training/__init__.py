"""The offline half of spamguard: corpora in, an artefact with its evidence out."""

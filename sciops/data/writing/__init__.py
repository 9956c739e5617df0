"""From data sets to files: native ones, those of other packages, and files that grow while a simulation runs."""

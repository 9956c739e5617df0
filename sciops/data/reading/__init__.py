"""From files to lazy data sets: containers, shards, declarations, what is safe to open, reads at the speed of the disk."""

"""From files to lazy data sets: containers, shards, declarations, what is safe to open, the speed of the disk."""

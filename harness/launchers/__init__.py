"""Where device work is done: by which processes, on which machines."""

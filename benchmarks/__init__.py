"""Programs that measure. Each starts what it needs by itself, on this machine only, and prints what it found."""

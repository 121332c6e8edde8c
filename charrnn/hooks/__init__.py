"""What the rooms of charrnn and other installed packages add to it."""

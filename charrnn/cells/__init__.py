"""What the cells of a model do while it reads."""

"""Plain frozen results: what each room computes and hands to rendering. Standard library only."""

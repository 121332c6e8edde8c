"""Character ids to logits: the cells, the network that trains, the stepper that writes."""

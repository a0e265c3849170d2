"""What is done although nobody asks for it: waking, delivering, pruning, recovering."""

"""Class activation maps as arrays: numpy on feature maps and the weights of the linear layer."""

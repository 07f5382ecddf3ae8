"""How the weights of the built-in model were made, and how to make your own."""

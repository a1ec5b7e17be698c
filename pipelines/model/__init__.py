"""A network in Keras with its head, how TensorFlow is loaded, and predictions of exported files."""

"""What metrics read: features of edited pictures, the rendered ground truth, and their cache."""

"""What turns an input into the features that a life sees: pretrained and frozen."""

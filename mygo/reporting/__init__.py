"""What a person sees: the terminal, TensorBoard, results, plots and the report."""

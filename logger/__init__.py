"""Where a run tells what it does: console, files, TensorBoard, wandb, pictures."""

"""What a run leaves for people: TensorBoard, JSON lines, the lines on the screen."""

"""What the tasks from sequences to sequences share: the settings of a run, and its model with search and loss."""

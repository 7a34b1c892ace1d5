"""Built-in data, made by the project itself: one file for each task, each with `write(folder, …)` → path by split."""

"""What a run needs of others, tried before it fetches anything: a file for each subject."""

"""What a user would run instead. Nothing here imports sentiment_train."""

"""A board that follows a tag in a registry: it fetches what is signed for it, and is its own laptop."""

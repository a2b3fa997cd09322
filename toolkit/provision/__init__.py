"""``./inv provision``: from an inventory to boards that are as their roles say."""

"""Everything that named boards need, in one signed file, and its way onto boards without a network."""

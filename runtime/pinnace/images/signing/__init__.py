"""Signatures of images: what they are, who is asked for them (a policy), how they are made."""

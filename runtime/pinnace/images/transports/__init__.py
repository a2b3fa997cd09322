"""Places that images are in, as skopeo names them, each behind the same two interfaces."""

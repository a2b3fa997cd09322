"""Pull mode, this machine's half: releases into a registry, tags that boards follow, statuses that they push."""

"""Options of a runtime given as a configuration file."""

from __future__ import annotations

from pinnace.api import codec as pb

PACKAGE = "runtimeoptions.v1"


class Options(pb.Message):
    type_url = pb.string(1)
    config_path = pb.string(2)
    config_body = pb.data(3)

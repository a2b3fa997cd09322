"""Sources, destinations and stream messages of the Transfer service."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.schema.types import Descriptor, Platform
from pinnace.api.schema.wellknown import Timestamp

PACKAGE = "containerd.types.transfer"


class ImageReference(pb.Message):
    name = pb.string(1)
    is_prefix = pb.boolean(2)
    allow_overwrite = pb.boolean(3)
    add_digest = pb.boolean(4)
    skip_named_digest = pb.boolean(5)


class UnpackConfiguration(pb.Message):
    platform = pb.message(1, Platform)
    snapshotter = pb.string(2)


class ImageStore(pb.Message):
    name = pb.string(1)
    labels = pb.string_map(2)
    platforms = pb.messages(3, Platform)
    all_metadata = pb.boolean(4)
    manifest_limit = pb.uint32(5)
    extra_references = pb.messages(6, ImageReference)
    unpacks = pb.messages(10, UnpackConfiguration)


class ImageImportStream(pb.Message):
    stream = pb.string(1)
    media_type = pb.string(2)
    force_compress = pb.boolean(3)


class ImageExportStream(pb.Message):
    stream = pb.string(1)
    media_type = pb.string(2)
    platforms = pb.messages(3, Platform)
    all_platforms = pb.boolean(4)
    skip_compatibility_manifest = pb.boolean(5)
    skip_non_distributable = pb.boolean(6)


class Progress(pb.Message):
    event = pb.string(1)
    name = pb.string(2)
    parents = pb.strings(3)
    progress = pb.int64(4)
    total = pb.int64(5)
    desc = pb.message(6, Descriptor)


# HTTPDebug
HTTPDEBUG_DISABLED = 0
HTTPDEBUG_DEBUG = 1
HTTPDEBUG_TRACE = 2
HTTPDEBUG_BOTH = 3

# AuthType
AUTH_TYPE_NONE = 0
AUTH_TYPE_CREDENTIALS = 1
AUTH_TYPE_REFRESH = 2
AUTH_TYPE_HEADER = 3


class RegistryResolver(pb.Message):
    auth_stream = pb.string(1)
    headers = pb.string_map(2)
    host_dir = pb.string(3)
    default_scheme = pb.string(4)
    http_debug = pb.enum(5)
    logs_stream = pb.string(6)


class OCIRegistry(pb.Message):
    reference = pb.string(1)
    resolver = pb.message(2, RegistryResolver)


class AuthRequest(pb.Message):
    host = pb.string(1)
    reference = pb.string(2)
    wwwauthenticate = pb.strings(3)


class AuthResponse(pb.Message):
    auth_type = pb.enum(1)
    secret = pb.string(2)
    username = pb.string(3)
    expire_at = pb.message(4, Timestamp)


class Data(pb.Message):
    data = pb.data(1)


class WindowUpdate(pb.Message):
    update = pb.int32(1)

"""gRPC's server reflection: `grpcurl` and the like ask what there is
(https://github.com/grpc/grpc/blob/master/doc/server-reflection.md).

The answers are the descriptors that protobuf holds of the API anyway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from perdure.api.errors import StatusCode

NAMES = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")
"""The two versions have the same messages."""


def reflect(services: Sequence[str]) -> dict[str, Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]]:
    """The streaming methods that tell of `services`, by path."""
    return {f"/{name}/ServerReflectionInfo": partial(_converse, (*services, *NAMES)) for name in NAMES}


async def _converse(services: Sequence[str], requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for data in requests:
        yield _answer(services, ServerReflectionRequest.FromString(data)).SerializeToString()


def _answer(services: Sequence[str], request: ServerReflectionRequest) -> ServerReflectionResponse:
    response = ServerReflectionResponse(valid_host=request.host, original_request=request)
    pool = Default()
    try:
        match request.WhichOneof("message_request"):
            case "file_by_filename":
                _add_files(response, pool.FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                _add_files(response, pool.FindFileContainingSymbol(request.file_containing_symbol))
            case "list_services":
                for name in services:
                    response.list_services_response.service.add(name=name)
            case _:
                response.error_response.error_code = StatusCode.UNIMPLEMENTED
                response.error_response.error_message = "There are no extensions here."
    except KeyError as error:
        response.error_response.error_code = StatusCode.NOT_FOUND
        response.error_response.error_message = str(error)
    return response


def _add_files(response: ServerReflectionResponse, first: FileDescriptor) -> None:
    """A file and all that it imports, so that nobody has to ask again."""
    found: dict[str, bytes] = {}
    waiting = [first]
    while waiting:
        file = waiting.pop()
        if file.name not in found:
            proto = FileDescriptorProto()
            file.CopyToProto(proto)
            found[file.name] = proto.SerializeToString()
            waiting += file.dependencies
    response.file_descriptor_response.file_descriptor_proto.extend(found.values())

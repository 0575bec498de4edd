"""A page of reference in Markdown, from the comments of the protos. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import (
        DescriptorProto,
        EnumDescriptorProto,
        FieldDescriptorProto,
        FileDescriptorProto,
        FileDescriptorSet,
        ServiceDescriptorProto,
    )

_Place = tuple[int, ...]

# Numbers of fields in descriptor.proto, of which the place of a comment is made.
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_METHOD = 2
_FIELD, _NESTED, _NESTED_ENUM = 2, 3, 4
_VALUE = 2
_REPEATED = 3


def page(title: str, files: FileDescriptorSet, own: Callable[[str], bool]) -> str:
    """All packages of the files that are `own`, in the order of their names."""
    lines = [f"# Protos of {title}", "", "From the comments of the protos: `dctl api docs`."]
    chosen = sorted((f for f in files.file if own(f.name)), key=lambda f: (f.package, f.name))
    package = None
    for file in chosen:
        if file.package != package:
            package = file.package
            lines += ["", f"## {package}"]
        lines += _file(file)
    return "\n".join(lines) + "\n"


def _file(file: FileDescriptorProto) -> Iterator[str]:
    comments = {
        tuple(at.path): " ".join(at.leading_comments.split())
        for at in file.source_code_info.location
    }
    for i, service in enumerate(file.service):
        yield from _service(service, comments, (_SERVICE, i))
    for i, message in enumerate(file.message_type):
        yield from _message(message, comments, (_MESSAGE, i), "")
    for i, enum in enumerate(file.enum_type):
        yield from _enum(enum, comments, (_ENUM, i), "")


def _service(
    service: ServiceDescriptorProto, comments: Mapping[_Place, str], at: _Place
) -> Iterator[str]:
    yield from _head(service.name, comments.get(at, ""))
    rows = [
        (
            f"`{method.name}`",
            ("stream " if method.client_streaming else "") + _short(method.input_type),
            ("stream " if method.server_streaming else "") + _short(method.output_type),
            comments.get((*at, _METHOD, i), ""),
        )
        for i, method in enumerate(service.method)
    ]
    yield from _table(("call", "request", "answer", "meaning"), rows)


def _message(
    message: DescriptorProto, comments: Mapping[_Place, str], at: _Place, inside: str
) -> Iterator[str]:
    if message.options.map_entry:
        return
    name = inside + message.name
    yield from _head(name, comments.get(at, ""))
    rows = [
        (f"`{field.name}`", str(field.number), _type(field), comments.get((*at, _FIELD, i), ""))
        for i, field in enumerate(message.field)
    ]
    yield from _table(("field", "number", "type", "meaning"), rows)
    for i, nested in enumerate(message.nested_type):
        yield from _message(nested, comments, (*at, _NESTED, i), f"{name}.")
    for i, enum in enumerate(message.enum_type):
        yield from _enum(enum, comments, (*at, _NESTED_ENUM, i), f"{name}.")


def _enum(
    enum: EnumDescriptorProto, comments: Mapping[_Place, str], at: _Place, inside: str
) -> Iterator[str]:
    yield from _head(inside + enum.name, comments.get(at, ""))
    rows = [
        (f"`{value.name}`", str(value.number), comments.get((*at, _VALUE, i), ""))
        for i, value in enumerate(enum.value)
    ]
    yield from _table(("value", "number", "meaning"), rows)


def _head(name: str, comment: str) -> Iterable[str]:
    return ["", f"### {name}", *(["", comment] if comment else [])]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    for row in (headers, ["---"] * len(headers), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _type(field: FieldDescriptorProto) -> str:
    name = _short(field.type_name) or field.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"repeated {name}" if field.label == _REPEATED else name


def _short(full: str) -> str:
    return full.rpartition(".")[2]

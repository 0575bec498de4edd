"""A new service: its folder, for the proto of its name if there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dctl.scaffold.proto import camel

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


@dataclass(frozen=True, slots=True)
class Method:
    """An RPC: its name, what goes in and out as Python names it, and which side streams."""

    name: str
    asks: str
    answers: str
    streams_in: bool
    streams_out: bool
    shared: Sequence[str] = ()
    """Fields that the request and the answer have both."""


@dataclass(frozen=True, slots=True)
class Proto:
    """A service of the protos, as it is implemented in Python."""

    service: str
    full_name: str
    module: str
    imports: Sequence[str]
    methods: Sequence[Method]


def files(name: str, proto: Proto | None) -> dict[str, str]:
    """The files of a service, by their paths in its folder."""
    return {
        "main.py": _main(name, proto) if proto else _bare(name),
        "config.yaml": _CONFIG.format(name=name),
        f"test_{name.replace('-', '_')}.py": _test(name, proto) if proto else _bare_test(name),
    }


def find_proto(found: FileDescriptorSet, package: str, wanted: str) -> Proto | None:
    """The newest service of the protobuf package that is called so, whatever its version; of
    several in it the first. `package` is the generated one."""
    fitting = [f for f in found.file if f.service and f.package.rpartition(".")[0] == wanted]
    if not fitting:
        return None
    file = max(fitting, key=lambda f: (len(f.package), f.package))
    service = file.service[0]
    types = {name: (f, name) for f in found.file for name in _messages(f)}
    aliases = {file.name: "pb"}

    def named(kind: str) -> str:
        home, full = types[kind]
        alias = aliases.setdefault(home.name, _alias(home.name, aliases.values()))
        return f"{alias}.{full.removeprefix(f'.{home.package}.')}"

    methods = []
    for method in service.method:
        asks, answers = (named(kind) for kind in (method.input_type, method.output_type))
        shared = _shared(types[method.input_type], types[method.output_type])
        streams = method.client_streaming, method.server_streaming
        methods.append(Method(method.name, asks, answers, *streams, shared))
    own = {f.name for f in found.file}
    imports = [_import(name, alias, package, own) for name, alias in sorted(aliases.items())]
    module = _home(file.name, package)
    return Proto(service.name, f"{file.package}.{service.name}", module, imports, methods)


def _alias(name: str, taken: Iterable[str]) -> str:
    """The module's own name, with those of its folders in front where that is taken."""
    folders, _, alias = _module(name).rpartition(".")
    while alias in set(taken) and folders:
        folders, _, folder = folders.rpartition(".")
        alias = f"{folder}_{alias}"
    return alias


def _messages(file: FileDescriptorProto) -> Iterator[str]:
    for message in file.message_type:
        yield f".{file.package}.{message.name}"


def _shared(
    one: tuple[FileDescriptorProto, str], other: tuple[FileDescriptorProto, str]
) -> list[str]:
    fields = []
    for file, full in (one, other):
        (message,) = (m for m in file.message_type if f".{file.package}.{m.name}" == full)
        fields.append({f.name: (f.type, f.label, f.type_name) for f in message.field})
    return [name for name, kind in fields[0].items() if fields[1].get(name) == kind]


def _module(name: str) -> str:
    return name.removesuffix(".proto").replace("-", "_").replace("/", ".") + "_pb2"


def _home(name: str, package: str) -> str:
    from dctl.protos import framework
    from dctl.protos.rename import is_own

    if not is_own(name):
        return _module(name)
    shipped = (framework.home() / name).is_file()
    return f"{framework.PACKAGE if shipped else package}.{_module(name)}"


def _import(name: str, alias: str, package: str, own: set[str]) -> str:
    parent, _, module = _home(name, package).rpartition(".")
    return f"from {parent} import {module}" + ("" if module == alias else f" as {alias}")


def _main(name: str, proto: Proto) -> str:
    parent, _, module = proto.module.rpartition(".")
    imports = sorted([*proto.imports, f"from {parent} import {module}_grpc as rpc"])
    methods = "\n\n".join(_method(method) for method in proto.methods)
    return _MAIN.format(
        name=name,
        imports="\n".join(imports),
        cls=camel(name),
        service=proto.service,
        full_name=proto.full_name,
        methods=methods,
    )


def _method(method: Method) -> str:
    fields = ", ".join(f"{name}=request.{name}" for name in method.shared)
    answer = f"{method.answers}({fields})"
    lines = [f"    async def {method.name}(self, request{'s' * method.streams_in}, context):"]
    if method.streams_in and method.streams_out:
        lines += ["        async for request in requests:", f"            yield {answer}"]
    elif method.streams_in:
        lines += ["        async for request in requests:", "            pass"]
        lines += [f"        return {method.answers}()"]
    else:
        lines += [f"        {'yield' if method.streams_out else 'return'} {answer}"]
    return "\n".join(lines)


def _test(name: str, proto: Proto) -> str:
    plain = [m for m in proto.methods if not m.streams_in and not m.streams_out]
    parent, _, module = proto.module.rpartition(".")
    imports = sorted([*proto.imports, f"from {parent} import {module}_grpc as rpc"])
    if plain:
        first = plain[0]
        return _CALLED.format(
            name=name,
            imports="\n".join(imports),
            stub=f"{proto.service}Stub",
            what=_snake(first.name),
            call=f"{first.name}({first.asks}(), timeout=5)",
            answer=first.answers,
        )
    body = f"        return service.stub(rpc.{proto.service}Stub)"
    check, what = "assert asyncio.run(call())", "it_serves"
    return _TEST.format(name=name, imports="\n".join(imports), body=body, check=check, what=what)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")


def _bare(name: str) -> str:
    return _BARE.format(name=name)


def _bare_test(name: str) -> str:
    return _TEST.format(
        name=name,
        imports="",
        body="        return service.address",
        check="assert asyncio.run(call()).port",
        what="it_serves",
    ).replace("\n\n\n\n", "\n\n\n")


_CONFIG = """\
# What every instance of {name} is told; the cluster spec says the rest (ports, Blueprint).
service:
  name: {name}
"""

_MAIN = '''\
"""The service {name}."""

from chassis import Chassis
{imports}


class {cls}(rpc.{service}Servicer):
{methods}


def make(config=None):
    """The service, not yet running; a test gives it a configuration."""
    app = Chassis(config=config)
    app.add_servicer({cls}())
    app.route(prefix="/{full_name}/")
    return app


if __name__ == "__main__":
    make().run()
'''

_BARE = '''\
"""The service {name}."""

from chassis import Chassis


def make(config=None):
    """The service, not yet running; a test gives it a configuration."""
    return Chassis(config=config)  # what it serves: app.add_servicer(...), app.route(...)


if __name__ == "__main__":
    make().run()
'''

_TEST = '''\
"""The service {name}, on real gRPC, without a cluster."""

import asyncio
import runpy
from pathlib import Path

from chassis.testing import running, settings
{imports}

make = runpy.run_path(str(Path(__file__).with_name("main.py")))["make"]


async def call():
    async with running(make(settings("{name}"))) as service:
{body}


def test_{what}():
    {check}
'''

_CALLED = '''\
"""The service {name}: by itself, on real gRPC; and in a cluster, where dctl test raised one."""

import asyncio
import runpy
from pathlib import Path

import pytest
from chassis.testing import client, in_cluster, running, settings
{imports}

make = runpy.run_path(str(Path(__file__).with_name("main.py")))["make"]


async def call():
    async with running(make(settings("{name}"))) as service:
        return await service.stub(rpc.{stub}).{call}


async def call_in_cluster():
    async with client(rpc.{stub}, "{name}") as stub:
        return await stub.{call}


def test_{what}_is_answered():
    assert isinstance(asyncio.run(call()), {answer})


@pytest.mark.skipif(not in_cluster(), reason="there is no cluster: dctl test raises one")
def test_{what}_is_answered_in_the_cluster():
    assert isinstance(asyncio.run(call_in_cluster()), {answer})
'''

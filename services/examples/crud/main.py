"""Names in a database: PostgreSQL where one is declared, else SQLite."""

from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel
from sqlalchemy import text

from chassis import Chassis
from chassis.errors import InvalidArgument, NotFound
from chassis.repository import Repository, RepositorySettings
from draft_api.examples.crud.v1 import models_pb2 as models
from draft_api.examples.crud.v1 import service_pb2 as pb
from draft_api.examples.crud.v1 import service_pb2_grpc as rpc

_INSERT = text("insert into names (id, first_name, last_name) values (:id, :first, :last)")
_SELECT = text("select first_name, last_name from names where id = :id")
_UPDATE = text("update names set first_name = :first, last_name = :last where id = :id")
_DELETE = text("delete from names where id = :id")


class Settings(BaseModel):
    repository: RepositorySettings = RepositorySettings()


class Crud(rpc.CrudServiceServicer):
    def __init__(self, names: Repository) -> None:
        self._names = names

    async def Create(self, request, context):
        values = {"id": str(uuid4()), **_given(request.name)}
        async with self._names.transaction() as database:
            await database.execute(_INSERT, values)
        return pb.CreateResponse(id=values["id"])

    async def Read(self, request, context):
        async with self._names.transaction() as database:
            row = (await database.execute(_SELECT, {"id": request.id})).first()
        if row is None:
            raise NotFound(f'there is no name "{request.id}"')
        name = models.Name(id=request.id, first_name=row.first_name, last_name=row.last_name)
        return pb.ReadResponse(name=name)

    async def Update(self, request, context):
        async with self._names.transaction() as database:
            values = {"id": request.name.id, **_given(request.name)}
            changed = (await database.execute(_UPDATE, values)).rowcount
        if not changed:
            raise NotFound(f'there is no name "{request.name.id}"')
        return pb.UpdateResponse(id=request.name.id)

    async def Delete(self, request, context):
        async with self._names.transaction() as database:
            await database.execute(_DELETE, {"id": request.id})
        return pb.DeleteResponse(id=request.id)


def _given(name):
    if not name.first_name and not name.last_name:
        raise InvalidArgument("name: give a first_name or a last_name")
    return {"first": name.first_name, "last": name.last_name}


def make(**options) -> Chassis:
    """The service; tests give `config`."""
    app = Chassis(settings=Settings, **options)
    names = Repository(
        app, app.settings.repository, migrations=Path(__file__).parent / "migrations"
    )
    app.add_servicer(Crud(names))
    app.route(prefix="/examples.crud.v1.CrudService/")
    return app


if __name__ == "__main__":
    make().run()

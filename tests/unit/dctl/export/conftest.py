"""Specs to export."""

from pathlib import Path

import pytest

from dctl.spec import Loaded, load

ROOT = Path(__file__).parents[4]
ENV = {
    "CORE_1": "deploy@10.0.0.21",
    "CORE_2": "deploy@10.0.0.22",
    "EDGE_1": "deploy@10.0.0.11",
    "DRAFT_BASE_IMAGE": "python:3.12-slim",
    "PASSWORD": "hunter2-of-the-mail",
}
BLUEPRINTS = sorted(p for p in (ROOT / "blueprints").glob("*.yaml") if "." not in p.stem)

RICH = """\
apiVersion: draft/v1
kind: Cluster
name: shop
runtime: docker
core:
  nats: {replicas: 3, max_store: 4G}
  blueprint: {replicas: 2}
  envoy: {listen: "0.0.0.0:8080"}
security: {calls: token}
observability: {metrics: true}
secrets:
  db: {env: SHOP_DB}
infra:
  postgres: {from: postgres, env: {POSTGRES_PASSWORD: secret://db}}
  web:
    image: shop/web:1
    ports: ["8081:80"]
    health: {http: /healthz}
services:
  cart:
    run: services/examples/echo
    replicas: 3
    env: {MAIL_PASSWORD: "${PASSWORD}", PRICE: "$$5", FLAG: "no", DB_URL: secret://db}
    config: {greeting: hello, mail: {password: "${PASSWORD}"}}
    routes: [{prefix: /cart/, timeout: 5s}]
    depends_on: {postgres: healthy, migrate: completed}
    files: {/etc/cart/rules.yaml: rules.yaml, /etc/cart/key.pem: key.pem}
    resources: {memory: 256M, cpus: 0.5}
    update: {order: start-first, parallel: 2, monitor: 10s}
    grace: 20s
    objects: true
  migrate:
    image: shop/migrate:1
    restart: {when: never}
  stock:
    image: shop/stock:2
    ports: {grpc: 9000}
    volumes: {data: /data}
    health: {grpc: true, interval: 5s}
  tool:
    command: [sleep, "1"]
"""


@pytest.fixture
def rich(tmp_path: Path) -> Loaded:
    """A spec that says a bit of everything."""
    (tmp_path / "cluster.yaml").write_text(RICH)
    (tmp_path / "rules.yaml").write_text("rules: [1, 2]\n")
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nMIIE\n")
    service = tmp_path / "services" / "examples" / "echo"
    service.mkdir(parents=True)
    (service / "main.py").write_text("print()\n")
    return load(tmp_path / "cluster.yaml", env=ENV)


def blueprint(path: Path) -> Loaded:
    return load(path, env=ENV, root=ROOT)

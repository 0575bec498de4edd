"""What Tekton is given: by its published shapes, with nothing of a run in a script's text."""

import re
import subprocess
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from dctl.export.text import to_text
from dctl.pipelines.manifests import (
    ACCOUNT,
    Wanted,
    access,
    dockerfile,
    pipeline,
    run,
    tasks,
)
from tests.support import kubernetes, tekton

SHOP = Wanted("shop", "github.com/acme/shop", "main", "registry.example.com/shop", "tools:1")


def read(*documents: Any) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(to_text(documents, "head")))


def test_tasks_pipeline_and_run_are_what_tekton_publishes() -> None:
    started = run(SHOP, version="1.4.0", deploy=True, docker_secret="registry")
    for manifest in read(*tasks(SHOP), pipeline(SHOP), started, run(SHOP, version="1.0.0")):
        tekton.validate(manifest)


def test_the_published_shapes_refuse_what_tekton_would() -> None:
    (task, *_) = read(*tasks(SHOP))
    task["spec"]["stepz"] = []
    with pytest.raises(jsonschema.ValidationError):
        tekton.validate(task)
    (made,) = read(pipeline(SHOP))
    del made["spec"]["tasks"][0]["name"]
    made["spec"]["tasks"][0]["runAfter"] = "fetch"
    with pytest.raises(jsonschema.ValidationError):
        tekton.validate(made)


def test_the_access_is_what_kubernetes_publishes() -> None:
    for manifest in read(*access(SHOP)):
        kubernetes.validate(manifest)


def test_each_parameter_of_a_task_is_given_by_the_pipeline_and_each_of_those_is_declared() -> None:
    made = pipeline(SHOP)["spec"]
    declared = {param["name"] for param in made["params"]}
    by_name = {task["metadata"]["name"]: task["spec"] for task in tasks(SHOP)}
    for step in made["tasks"]:
        task = by_name[step["taskRef"]["name"]]
        asked = {param["name"] for param in task.get("params", ())}
        given = {param["name"]: param["value"] for param in step.get("params", ())}
        assert asked == set(given)
        assert {value.removeprefix("$(params.").rstrip(")") for value in given.values()} <= declared
        mounted = {one["name"] for one in task["workspaces"] if not one.get("optional")}
        assert mounted <= {one["name"] for one in step["workspaces"]}
    required = {param["name"] for param in made["params"] if "default" not in param}
    assert required <= {param["name"] for param in run(SHOP, version="1.4.0")["spec"]["params"]}


def test_what_a_run_is_given_is_never_a_part_of_a_script() -> None:
    for task in tasks(SHOP):
        for step in task["spec"]["steps"]:
            assert "$(" not in step["script"]
            done = subprocess.run(
                ["sh", "-n"], input=step["script"], text=True, capture_output=True, timeout=30
            )
            assert (done.returncode, done.stderr) == (0, "")
            used = set(re.findall(r"\$([A-Z]+)", step["script"]))
            assert used <= {one["name"] for one in step["env"]}


def test_only_what_asks_for_it_is_deployed() -> None:
    deploy = pipeline(SHOP)["spec"]["tasks"][-1]
    assert deploy["when"] == [{"input": "$(params.deploy)", "operator": "in", "values": ["yes"]}]
    params = {p["name"]: p["value"] for p in run(SHOP, version="1.4.0")["spec"]["params"]}
    assert params == {"version": "1.4.0", "deploy": "no"}


def test_the_account_of_runs_may_change_only_what_an_export_has() -> None:
    by_kind = {(each["kind"], each["metadata"].get("namespace")): each for each in access(SHOP)}
    role = by_kind["Role", "shop"]
    allowed = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert "secrets" not in allowed
    assert "pods/exec" not in allowed
    assert by_kind["RoleBinding", "shop"]["subjects"][0]["name"] == ACCOUNT
    (rule,) = by_kind["ClusterRole", None]["rules"]
    assert (rule["resourceNames"], rule["resources"]) == (["shop"], ["namespaces"])


@pytest.mark.parametrize(
    ("repo", "url"),
    [
        ("github.com/acme/shop", "https://github.com/acme/shop"),
        ("git@example.com:acme/shop.git", "git@example.com:acme/shop.git"),
        ("ssh://git@example.com/shop", "ssh://git@example.com/shop"),
    ],
)
def test_a_repository_is_called_as_git_can_reach_it(repo: str, url: str) -> None:
    assert Wanted("shop", repo, "main", "", "").url == url


def test_the_image_of_the_tools_has_this_version_of_draft() -> None:
    assert '"draft[all]==1.2.3"' in dockerfile("1.2.3")

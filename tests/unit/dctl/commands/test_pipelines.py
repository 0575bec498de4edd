"""`dctl pipelines`: which context is meant, and what kubectl is told. No cluster can be had here: a
stub writes down how it is called, which is the contract, and where there is a real kubectl the same
is asked of that as far as it needs no cluster."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dctl.errors import ExitCode, NotFoundError, UnreachableError
from dctl.pipelines import kubectl
from tests.unit.dctl.commands.conftest import Dctl

STUB = """\
#!/bin/sh
dir=$(dirname "$0")
n=$(ls "$dir/calls" | wc -l)
printf '%s\\n' "$@" > "$dir/calls/$n.args"
case "$*" in
  "config get-contexts --output name") printf 'kind\\nprod\\n' ;;
  "config current-context") printf 'prod\\n' ;;
  "config view"*) printf '{"clusters": [{"cluster": {"server": "https://127.0.0.1:1"}}]}' ;;
  *"create --filename -"*) cat > "$dir/calls/$n.stdin"; printf '{"metadata": {"name": "shop-x"}}' ;;
  *"apply --filename -"*)
    cat > "$dir/calls/$n.stdin"
    if [ -e "$dir/no-tekton" ]; then echo 'error: no matches for kind "Task"' >&2; exit 1; fi
    echo applied ;;
  *delete*) echo deleted ;;
esac
"""
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: prod
clusters:
  - {name: a, cluster: {server: "https://127.0.0.1:1"}}
users: [{name: u, user: {token: none}}]
contexts:
  - {name: kind, context: {cluster: a, user: u}}
  - {name: prod, context: {cluster: a, user: u}}
"""
SAFE = ("--kube-context", "kind", "-y")
REGISTRY = ("--registry", "registry.example.com/shop")


class Calls:
    """What the stub was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __iter__(self) -> Any:
        found = sorted((self.folder / "calls").glob("*.args"), key=lambda file: int(file.stem))
        return iter([file.read_text().splitlines() for file in found])

    def changing(self) -> list[list[str]]:
        return [call for call in self if call[0] != "config"]

    def text(self, which: int) -> str:
        found = sorted((self.folder / "calls").glob("*.stdin"), key=lambda file: int(file.stem))
        return found[which].read_text()


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A workspace, and a stub of kubectl in front of all others."""
    folder = tmp_path / "bin"
    (folder / "calls").mkdir(parents=True)
    (folder / "kubectl").write_text(STUB)
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    root = tmp_path / "shop"
    root.mkdir()
    (root / "draft.yaml").write_text(
        "name: shop\nrepo: github.com/acme/shop\ncluster: cluster.yaml\n"
    )
    (root / "cluster.yaml").write_text("apiVersion: draft/v1\nkind: Cluster\nname: shop\n")
    monkeypatch.chdir(root)
    return Calls(folder)


def test_init_writes_the_manifests_and_applies_just_those_in_the_named_context(
    dctl: Dctl, calls: Calls
) -> None:
    outcome = dctl("pipelines", "init", *REGISTRY, *SAFE)
    assert outcome.code == 0, outcome.err
    assert "kube context: kind (https://127.0.0.1:1)" in outcome.err
    assert (
        calls.changing()
        == [["--context", "kind", "--request-timeout=30s", "apply", "--filename", "-"]] * 3
    )
    for which, name in enumerate(("access", "tasks", "pipeline")):
        assert calls.text(which) == Path(f"pipelines/{name}.yaml").read_text()
    assert Path("pipelines/tools.Dockerfile").is_file()


def test_init_without_a_cluster_only_writes(dctl: Dctl, calls: Calls) -> None:
    assert dctl("pipelines", "init", *REGISTRY, "--no-apply").code == 0
    assert Path("pipelines/tasks.yaml").is_file()
    assert list(calls) == []


@pytest.mark.parametrize(
    "command",
    [("init", *REGISTRY), ("run", *REGISTRY, "--version", "1.0.0"), ("dashboard",), ("clean",)],
)
def test_nothing_is_done_in_a_context_that_nobody_confirmed(
    command: tuple[str, ...], dctl: Dctl, calls: Calls
) -> None:
    for flags in ((), ("-y",), ("--kube-context", "kind")):
        outcome = dctl("pipelines", *command, *flags)
        assert outcome.code == ExitCode.USAGE
        assert "--kube-context" in outcome.err
    assert calls.changing() == []


def test_a_context_that_is_not_there_is_told_with_those_that_are(dctl: Dctl, calls: Calls) -> None:
    outcome = dctl("pipelines", "clean", "--kube-context", "prodd", "-y")
    assert outcome.code == ExitCode.ERROR
    assert 'no kube context "prodd"; did you mean "prod"?' in outcome.err
    assert calls.changing() == []


def test_a_run_is_created_and_told_by_its_name(dctl: Dctl, calls: Calls) -> None:
    flags = ("--version", "v1.4.0", "--deploy", "--revision", "abc", "-o", "json")
    outcome = dctl("pipelines", "run", *REGISTRY, *flags, *SAFE)
    assert outcome.json()["name"] == "shop-x"
    made = YAML(typ="safe").load(calls.text(0))
    params = {param["name"]: param["value"] for param in made["spec"]["params"]}
    assert params == {"version": "1.4.0", "deploy": "yes", "revision": "abc"}
    assert made["metadata"]["namespace"] == "shop-pipelines"


def test_the_dashboard_is_forwarded_and_its_end_is_ours(dctl: Dctl, calls: Calls) -> None:
    assert dctl("pipelines", "dashboard", "--port", "8080", *SAFE).code == 0
    assert calls.changing() == [
        ["--context", "kind", "--namespace", "tekton-pipelines", "port-forward",
         "service/tekton-dashboard", "8080:9097"]
    ]  # fmt: skip


def test_clean_goes_by_the_label_alone(dctl: Dctl, calls: Calls) -> None:
    assert dctl("pipelines", "clean", *SAFE).code == 0
    for call in calls.changing():
        assert call[:2] == ["--context", "kind"]
        assert call[call.index("--selector") + 1] == "app.kubernetes.io/part-of=shop-pipelines"


def test_a_cluster_without_tekton_is_told_what_it_lacks(dctl: Dctl, calls: Calls) -> None:
    (calls.folder / "no-tekton").touch()
    outcome = dctl("pipelines", "init", *REGISTRY, *SAFE)
    assert outcome.code == ExitCode.ERROR
    assert "Tekton Pipelines is not installed there" in outcome.err


def test_a_machine_without_kubectl_is_told_so(
    dctl: Dctl, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(calls.folder / "calls"))
    outcome = dctl("pipelines", "clean", *SAFE)
    assert outcome.code == ExitCode.ERROR
    assert "kubectl command is not installed" in outcome.err


@pytest.mark.parametrize("which", ["stub", "real"])
def test_contexts_are_read_alike_from_the_stub_and_from_kubectl_itself(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if which == "stub":
        request.getfixturevalue("calls")
    elif shutil.which("kubectl") is None:
        pytest.skip("no kubectl here: only the stub is asked")
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert kubectl.contexts() == ["kind", "prod"]
    assert kubectl.current() == "prod"
    assert kubectl.named("kind").server() == "https://127.0.0.1:1"
    with pytest.raises(NotFoundError):
        kubectl.named("other")


def test_a_cluster_that_does_not_answer_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(UnreachableError, match="does not answer"):
        kubectl.named("kind").apply(json.dumps({"apiVersion": "v1", "kind": "Namespace"}))

"""Every file of cluster/ is what its reader takes, and a planted typo in it is not.

The schemas of KubeRay's resources lie with the shared data; their tests skip where it is not. The others come with
packages: Ray's own, EC2's in botocore, Compute Engine's in google-api-python-client, kubernetes-validate, the Compose
specification in check-jsonschema, shellcheck, dockerfile-parse.
"""

import copy
import gzip
import io
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from dockerfile_parse import DockerfileParser

import raybrain
from raybrain.config import InputError
from raybrain.profiles import profile, profiles
from tests.conftest import REPO, SHARED, Ended

CLUSTER = REPO / "cluster"
KUBERNETES = "1.33"
KUBERAY = {"RayCluster": "kuberay-v1-raycluster.json.gz", "RayJob": "kuberay-v1-rayjob.json.gz"}
CORE = ["kubernetes/storage.yaml", "kubernetes/mlflow.yaml"]
CUSTOM = ["kubernetes/raycluster.yaml", "kubernetes/rayjob.yaml"]
LAUNCHED = ["aws.yaml", "gcp.yaml"]
INSTRUCTIONS = {"FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "CMD"}
DNS_1035 = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


def test_every_file_is_looked_at() -> None:
    known = {*CORE, *CUSTOM, *LAUNCHED, "README.md", "profiles.toml", "slurm.sh", "Containerfile", "compose.yaml"}
    assert {str(path.relative_to(CLUSTER)) for path in CLUSTER.rglob("*") if path.is_file()} == known


# profiles


def test_profiles_are_settings_of_a_cluster(raybrain: Callable[..., Ended]) -> None:
    assert {"laptop", "gpu1", "gpu8", "nodes"} <= set(profiles())
    for name in profiles():
        assert profile(name).settings
    listed = raybrain("list", "clusters", "--json")
    assert listed.code == 0 and set(listed.json["clusters"]) == set(profiles())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[mine]\nabout = "x"\nworker = 2', "profile mine: no setting 'worker', did you mean 'workers'?"),
        ('[mine]\nabout = "x"\nworkers = 0', "profile mine: workers="),
        ("[mine]\nworkers = 2", "mine is no profile; write [mine]"),
        ("mine = 2", "mine is no profile; write [mine]"),
        ("[mine", "Expected ']'"),
    ],
)
def test_a_typo_in_a_profile_is_one_line(text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "profiles.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(reason)) as error:
        profile("mine")
    assert str(error.value).startswith(str(Path("cluster/profiles.toml"))) and "\n" not in str(error.value)


def test_options_change_a_profile(raybrain: Callable[..., Ended], tmp_path: Path) -> None:
    from raybrain.cli.common import make_cluster

    made = make_cluster(tmp_path, ["failures=7"], "nodes", workers=9, address=None)
    assert (made.workers, made.min_workers, made.failures, made.address, made.gpus) == (9, 8, 7, "auto", "on")
    refused = raybrain("train", "quickstart", "--profile", "gpu9", "--home", str(tmp_path))
    assert refused.code == 2 and "no profile 'gpu9', did you mean 'gpu8'?" in refused.err and refused.err.count("\n") == 1


# Ray's launcher


def launcher_check(config: dict[str, Any]) -> None:
    """What ``ray up`` itself asks of its file; without jsonschema it would ask nothing."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(config)))


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_takes_the_launcher_file(name: str) -> None:
    (config,) = documents(name)
    launcher_check(config)
    schema = json.loads(resources.files("ray").joinpath("autoscaler/ray-schema.json").read_text())
    assert set(config["provider"]) <= set(schema["properties"]["provider"]["properties"])  # Ray lets others through
    types = config["available_node_types"]
    head = types[config["head_node_type"]]
    assert head["resources"]["CPU"] == head["resources"]["GPU"] == 0 and "InstanceMarketOptions" not in head["node_config"]
    assert "scheduling" not in head["node_config"]
    for kind, workers in types.items():
        spot = str(workers["node_config"].get("InstanceMarketOptions", workers["node_config"].get("scheduling"))).lower()
        assert kind == config["head_node_type"] or ("spot" in spot and workers["min_workers"] == 0)
    for command in [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]:
        assert command == "ray stop" or "RAY_AUTH_MODE=token ray start" in command


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_refuses_a_typo_in_the_launcher_file(name: str) -> None:
    (config,) = documents(name)
    typos = {where: typo for where, typo in renamed(config) if "resources" not in where and "node_config." not in where}
    assert len(typos) > 5
    for where, typo in typos.items():
        with pytest.raises(Exception):  # noqa: B017 - Ray raises whatever comes to its mind
            launcher_check(typo)
            pytest.fail(f"{where} is misspelt and nobody noticed", pytrace=False)


def test_ec2_takes_the_machines_and_no_typo() -> None:
    """Ray hands a node_config to EC2's RunInstances as it is; botocore knows what that takes."""
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    shape = get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    (config,) = documents("aws.yaml")
    for kind in config["available_node_types"].values():
        asked = kind["node_config"] | {"MinCount": 1, "MaxCount": 1}
        assert not ParamValidator().validate(asked, shape).has_errors()
        for where, typo in renamed(asked):
            assert ParamValidator().validate(typo, shape).has_errors(), f"{where} is misspelt and nobody noticed"


def unknown_keys(value: Any, reference: dict[str, Any], schemas: dict[str, Any], where: str = "") -> Iterator[str]:
    """Keys of a value that a Google interface does not know, by its discovery document."""
    reference = schemas[reference["$ref"]] if "$ref" in reference else reference
    for part in value if isinstance(value, list) else [value]:
        inside = reference.get("items", reference)
        inside = schemas[inside["$ref"]] if "$ref" in inside else inside
        for key, deeper in part.items() if isinstance(part, dict) else ():
            if key not in inside["properties"]:
                yield f"{where}{key}"
            else:
                yield from unknown_keys(deeper, inside["properties"][key], schemas, f"{where}{key}.")


def test_compute_engine_takes_the_machines_and_no_typo() -> None:
    """Ray hands a node_config to Compute Engine as an Instance; the client's discovery document knows what that is."""
    documents_of = resources.files("googleapiclient") / "discovery_cache" / "documents"
    schemas = json.loads((documents_of / "compute.v1.json").read_text())["schemas"]
    (config,) = documents("gcp.yaml")
    for kind in config["available_node_types"].values():
        assert not list(unknown_keys(kind["node_config"], {"$ref": "Instance"}, schemas))
        for where, typo in renamed(kind["node_config"]):
            assert list(unknown_keys(typo, {"$ref": "Instance"}, schemas)), f"{where} is misspelt and nobody noticed"


# Kubernetes


def closed(schema: Any) -> Any:
    """A schema in which every object refuses keys that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(part) for key, part in schema.items()}
    opened = made.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in made
    if isinstance(made.get("properties"), dict) and "type" in made and not opened:
        made["additionalProperties"] = False
    return made


@pytest.fixture(scope="module")
def kuberay() -> dict[str, Any]:
    folder = SHARED / "schemas"
    if not folder.is_dir():
        pytest.skip(f"no {folder} with the schemas of KubeRay")
    schemas = {kind: json.loads(gzip.decompress((folder / file).read_bytes())) for kind, file in KUBERAY.items()}
    for schema in schemas.values():  # what every object has, whoever defines it
        schema["properties"]["metadata"] = {"type": "object", "properties": {"name": {}, "namespace": {}}}
    return {kind: closed(schema) for kind, schema in schemas.items()}


def renamed(value: Any) -> Iterator[tuple[str, Any]]:
    """Copies of a document, each with one key misspelt: the first one of every mapping whose keys are not free to choose."""
    places: list[tuple[Any, ...]] = [()]
    for place in places:
        here = value
        for key in place:
            here = here[key]
        if isinstance(here, dict):
            places += [(*place, key) for key in here]
            free = place and place[-1] in FREE
            if here and not free:
                made = copy.deepcopy(value)
                at = made
                for key in place:
                    at = at[key]
                first = next(iter(at))
                at[f"{first}x"] = at.pop(first)
                yield ".".join(map(str, (*place, first))), made
        elif isinstance(here, list):
            places += [(*place, index) for index in range(len(here))]


# mappings whose keys are names that people choose
FREE = {"labels", "matchLabels", "selector", "data", "requests", "limits", "rayStartParams", "file_mounts"} | {
    *("environment", "services", "volumes", "configs", "depends_on")
}


@pytest.mark.parametrize("name", CUSTOM)
def test_kuberay_takes_the_file(name: str, kuberay: dict[str, Any]) -> None:
    (document,) = documents(name)
    schema = kuberay[document["kind"]]
    jsonschema.validate(document, schema)
    typos = list(renamed(document))
    assert len(typos) > 20
    for where, typo in typos:
        assert not jsonschema.Draft7Validator(schema).is_valid(typo), f"{where} is misspelt and nobody noticed"


@pytest.mark.parametrize("name", CUSTOM)
def test_rules_between_fields_that_only_kuberay_knows(name: str) -> None:
    (document,) = documents(name)
    spec = document["spec"].get("rayClusterSpec", document["spec"])
    assert spec["rayVersion"] == metadata.version("ray")
    assert spec["authOptions"] == {"mode": "token", "secretName": "raybrain-token"}
    assert DNS_1035.fullmatch(document["metadata"]["name"])
    head, workers = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert json.loads(json.loads(head["rayStartParams"]["resources"].replace('\\"', '\\"'))) == {"trial": 64}
    for group in [head, *workers]:
        pod = group["template"]["spec"]
        assert pod["containers"] and pod.get("restartPolicy", "Never") == "Never" and pod["securityContext"]["runAsNonRoot"]
        assert "resources" not in group, "resources are said in the container, or in rayStartParams"
        assert not [one for one in pod["containers"][0]["env"] if one["name"] == "RAY_enable_autoscaler_v2"]
    for group in workers:
        assert group["minReplicas"] == 0 < group["maxReplicas"] and DNS_1035.fullmatch(group["groupName"])
    assert any("nvidia.com/gpu" in group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in workers)
    if document["kind"] == "RayJob":
        job = document["spec"]
        assert len(document["metadata"]["name"]) <= 47 and "clusterSelector" not in job
        assert job["shutdownAfterJobFinishes"] and "deletionStrategy" not in job and job["activeDeadlineSeconds"] > 0


def test_the_job_has_the_cluster_that_stays() -> None:
    (cluster,), (job,) = documents(CUSTOM[0]), documents(CUSTOM[1])
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]


@pytest.mark.parametrize("name", CORE)
def test_kubernetes_takes_the_file(name: str) -> None:
    for document in documents(name):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "raybrain"


@pytest.mark.parametrize("name", CORE)
def test_kubernetes_refuses_a_typo(name: str) -> None:
    for document in documents(name):
        for where, typo in renamed(document):
            with pytest.raises(Exception):  # noqa: B017 - of several kinds: a misspelt kind is not found at all
                kubernetes_validate.validate(typo, KUBERNETES, strict=True)
                pytest.fail(f"{where} is misspelt and nobody noticed", pytrace=False)


def test_selectors_find_their_pods() -> None:
    some = [document for name in CORE for document in documents(name)]
    pods = [document["spec"]["template"]["metadata"]["labels"] for document in some if "template" in document.get("spec", {})]
    for document in some:
        selector = document.get("spec", {}).get("selector", {})
        assert not selector or selector.get("matchLabels", selector) in pods


def test_names_that_kubernetes_files_share() -> None:
    known = {(document["kind"], document["metadata"]["name"]) for name in CORE for document in documents(name)}
    text = "".join((CLUSTER / name).read_text() for name in [*CORE, *CUSTOM])
    for claim in re.findall(r"claimName: ([\w-]+)", text):
        assert ("PersistentVolumeClaim", claim) in known
    for host in re.findall(r"raybrain@(\w+)/|http://(\w+):", text):
        assert ("Service", "".join(host)) in known
    readme = (CLUSTER / "README.md").read_text()
    for secret in {*re.findall(r"secretName: ([\w-]+)", text), *re.findall(r"secretKeyRef: {name: ([\w-]+)", text)}:
        assert f"create secret generic {secret}" in readme


# Compose, containers, Slurm


def compose_schema() -> Any:
    vendor = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    return json.loads(vendor.read_text())


def test_compose_takes_the_file_and_no_typo() -> None:
    (document,) = documents("compose.yaml")
    schema = compose_schema()
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(document)
    del document["x-head"]  # an anchor: its content is that of the services
    for where, typo in renamed(document):
        assert not validator.is_valid(typo), f"{where} is misspelt and nobody noticed"


def test_compose_listens_on_this_machine_alone_and_has_no_secret() -> None:
    (document,) = documents("compose.yaml")
    services = document["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    for name, service in services.items():
        needs = service.get("depends_on", {})
        assert set(needs) <= set(services)
        for key, value in service.get("environment", {}).items():
            secret = re.search("PASSWORD|SECRET|TOKEN", key)
            assert not secret or value.startswith("${"), f"{name}.{key} is written down"
    variables = set(re.findall(r"\$\{(\w+)", (CLUSTER / "compose.yaml").read_text()))
    readme = (CLUSTER / "README.md").read_text()
    assert all(f"{variable}=" in readme for variable in variables)


def instructions(text: str) -> list[dict[str, Any]]:
    """What a container file says, read by a parser; what is no instruction is refused."""
    parsed = DockerfileParser(fileobj=io.BytesIO(text.encode())).structure
    for one in parsed:
        if one["instruction"] not in INSTRUCTIONS | {"COMMENT"}:
            raise ValueError(f"{one['instruction']} is no instruction")
    return [one for one in parsed if one["instruction"] != "COMMENT"]


def test_the_container_file_is_pinned_and_does_not_run_as_root() -> None:
    text = (CLUSTER / "Containerfile").read_text()
    stages: dict[str, list[dict[str, Any]]] = {}
    for one in instructions(text):
        if one["instruction"] == "FROM":
            image, _, name = one["value"].split()
            assert image in stages or re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-bookworm", image)
            stages[name] = []
        else:
            stages[name].append(one)
    for target in ("raybrain", "mlflow"):
        users = [one["value"] for one in stages[target] if one["instruction"] == "USER"]
        assert users == ["1000:1000"]
        assert json.loads(stages[target][-1]["value"])  # CMD as a list
    for name, some in stages.items():
        for one in some:
            if one["instruction"] == "COPY" and "--from" not in one["value"]:
                *sources, _ = one["value"].split()
                assert all((REPO / source).exists() for source in sources), f"{name}: {one['value']}"
            if "pip install" in one["value"]:
                assert "constraints.txt" in one["value"]
    for (compose,) in [documents("compose.yaml")]:
        built = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
        assert built == {"raybrain", "mlflow"}


@pytest.mark.parametrize("word", sorted(INSTRUCTIONS - {"WORKDIR"}))
def test_a_typo_in_the_container_file_is_refused(word: str) -> None:
    text = (CLUSTER / "Containerfile").read_text()
    with pytest.raises(ValueError, match="is no instruction"):
        instructions(re.sub(f"^{word} ", f"{word}X ", text, count=1, flags=re.MULTILINE))


def shellcheck(text: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("shellcheck")), "--shell=bash", "-"]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False)


@pytest.mark.parametrize("name", CUSTOM)
def test_ray_is_warned_before_kubernetes_ends_a_worker(name: str) -> None:
    from ray.scripts.scripts import drain_node

    (document,) = documents(name)
    for workers in document["spec"].get("rayClusterSpec", document["spec"])["workerGroupSpecs"]:
        pod = workers["template"]["spec"]
        (container,) = pod["containers"]
        *shell, line = container["lifecycle"]["preStop"]["exec"]["command"]
        warning, _, wait = line.partition(" && sleep ")
        words = shlex.split(warning)
        assert shell == ["sh", "-c"] and words[:2] == ["ray", "drain-node"]
        asked = drain_node.make_context("drain-node", words[2:]).params
        assert asked["reason"] == "DRAIN_NODE_REASON_PREEMPTION"
        assert asked["deadline_remaining_seconds"] == int(wait) < pod["terminationGracePeriodSeconds"]


def test_shellcheck_takes_the_slurm_script_and_no_typo() -> None:
    text = (CLUSTER / "slurm.sh").read_text()
    done = shellcheck(text)
    assert done.returncode == 0, done.stdout
    for right, wrong in [("$head", "$haed"), ("; then", "; thn"), ('"$port"', "$prot")]:
        typo = text.replace(right, wrong) if right in text else text.replace("$port", wrong)
        assert shellcheck(typo).returncode, wrong


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run the script as Slurm would, with stubs that write down how they were called."""
    stubs = tmp_path / "bin"
    stubs.mkdir()
    log = tmp_path / "calls"
    scripts = {
        "scontrol": "printf 'node7\\nnode8\\n'",
        "srun": f'printf "%s\\n" "$@" >{shlex.quote(str(log))}; stat -c %a "$RAY_AUTH_TOKEN_PATH" >>{shlex.quote(str(log))}\n'
        'while [ "$1" != -- ]; do shift; done; shift; "$@"; code=$?; echo ended; exit $code',
        "raybrain": "exec sleep ${SLEEP:-0}",
        "python": f'exec {shlex.quote(sys.executable)} "$@"',
    }
    for name, line in scripts.items():
        (stubs / name).write_text(f"#!/bin/sh\n{line}\n")
        (stubs / name).chmod(0o755)
    (tmp_path / "home").mkdir()
    pid = str(tmp_path / "home" / ".slurm-123456.pid")

    def run(*arguments: str, warned: bool = False, **changed: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            "PATH": "/usr/bin:/bin",
            "RAYBRAIN_HOME": str(tmp_path / "home"),
            "RAYBRAIN_VENV": str(tmp_path),
            "SLURM_JOB_ID": "123456",
            "SLURM_JOB_NODELIST": "node[7-8]",
            "SLURM_JOB_NUM_NODES": "2",
        } | changed
        command = ["bash", str(CLUSTER / "slurm.sh"), *arguments]
        if warned:
            command = [
                "bash",
                "-c",
                f'{shlex.join(command)} & while [ ! -s "$0" ]; do sleep 0.1; done; kill -USR1 $!; wait $!',
                pid,
            ]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
        done.args = log.read_text().splitlines() if log.exists() else []
        return done

    return run


def test_slurm_starts_ray_on_all_nodes_and_raybrain_on_the_first(slurm: Any, tmp_path: Path) -> None:
    done = slurm("tune", "my space.py", "--trials", "2", SLURM_JOB_END_TIME="99999999999")
    assert done.returncode == 0, done.stderr
    address = f"node7:{20000 + 123456 % 20000}"
    start = ["--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "ray", "symmetric-run", "--address", address]
    assert done.args[:7] == start and done.args[7:9] == ["--min-nodes", "2"]
    ours = done.args[done.args.index("--") + 1 : -1]
    assert ours[:2] == ["bash", "-c"] and ours[3] == str(tmp_path / "home" / ".slurm-123456.pid")
    assert ours[4:9] == ["raybrain", "tune", "my space.py", "--trials", "2"]
    assert ours[9] == "--time-budget" and re.fullmatch(r"\d+s", ours[10]) and ours[11:] == ["--address", address]
    assert done.args[-1] == "600", "the token is for its owner alone"
    assert not list((tmp_path / "home").iterdir()), "the token is left"


def test_slurm_ends_the_command_before_the_limit_and_ray_after_it(slurm: Any, tmp_path: Path) -> None:
    done = slurm("train", "quickstart", warned=True, SLEEP="60")
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert "ended" in done.stdout, "srun, and Ray in it, go on until the command has ended"
    assert not list((tmp_path / "home").iterdir()), "something is left"


def test_slurm_says_what_is_missing(slurm: Any) -> None:
    for changed, arguments in [({"RAYBRAIN_HOME": ""}, ["tune"]), ({"RAYBRAIN_VENV": ""}, ["tune"]), ({}, [])]:
        done = slurm(*arguments, **changed)
        assert done.returncode and "type " in done.stderr and not done.args


# README.md


def test_what_is_to_be_changed_is_explained() -> None:
    readme = (CLUSTER / "README.md").read_text()
    for path in CLUSTER.rglob("*"):
        if path.is_file():
            for marked in re.findall(r"[\w./-]*CHANGE-ME", path.read_text()):
                assert marked in readme, f"{path.name}: nobody says what {marked} is"


def test_images_have_the_version_of_raybrain() -> None:
    for path in CLUSTER.rglob("*"):
        for version in re.findall(r"raybrain(?:-mlflow)?:(\d[\w.]*)", path.read_text() if path.is_file() else ""):
            assert version == raybrain.__version__, path.name

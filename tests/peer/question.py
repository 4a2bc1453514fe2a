"""One question put to both tools, and how their answers are compared."""
import itertools
import json
import os
import pathlib
import socket
import subprocess
import typing
import warnings

import yaml

warnings.simplefilter("ignore")
from heatclient.common import template_utils  # noqa: E402
from tripleo_common.image import image_uploader  # noqa: E402
from tripleo_common.image import kolla_builder as kb  # noqa: E402


def no_network(*_args, **_kwargs):
    raise AssertionError("the peer tried to use the network")


socket.socket.connect = no_network
# The real one tries an https request at every host; overtag asks no registry in these runs either.
image_uploader.BaseImageUploader.is_insecure_registry = classmethod(lambda _cls, _host: False)

RELEASES = "pike queens rocky stein train ussuri victoria wallaby".split()
SERVICE = "OS::TripleO::Services::"
# Substitutions that have a flag of their own; all others go through --set.
OWN = "namespace name_prefix name_suffix tag neutron_driver ceph_namespace ceph_image ceph_tag".split()
# What the JSON files of the facts hold, by file name. Empty in the second form, which needs none.
FACTS = {}


class Ask(typing.NamedTuple):
    """One question."""
    release: str = "wallaby"
    template: typing.Optional[pathlib.Path] = None
    set: dict = {}
    includes: list = []
    excludes: list = []
    roles: typing.Optional[pathlib.Path] = None
    envs: list = []
    push: typing.Optional[str] = None
    append: typing.Optional[str] = None
    built_in: bool = False  # ours takes its own template, the peer the one made from the facts
    old: bool = False  # in the established tool's spelling
    more: list = []  # further flags, for ours alone


class Got(typing.NamedTuple):
    """What overtag said. The list and the mapping are None where no file was written."""
    code: int
    err: str
    images: typing.Optional[list]
    params: typing.Optional[dict]
    texts: list  # of the two files, empty where there is none
    images_file: pathlib.Path


def flags(ask):
    """The question as overtag's flags; with "=" wherever a value may start with a hyphen."""
    out = [] if ask.built_in else [f"--template-file={ask.template}"]
    out += ["--release", ask.release]
    for name, value in ask.set.items():
        flag = "--" + (name.removeprefix("name_") if ask.old else name).replace("_", "-")
        if name not in OWN:
            out += ["--set", f"{name}={value}"]
        elif value.startswith("-") or not ask.old:
            out.append(f"{flag}={value}")
        else:
            out += [flag, value]
    out += [f"--include={p}" for p in ask.includes] + [f"--exclude={p}" for p in ask.excludes]
    for path in ask.envs:
        out += ["-e" if ask.old else "--environment-file", str(path)]
    if ask.roles:
        out += ["-r" if ask.old else "--roles-file", str(ask.roles)]
    if ask.push is not None:
        out.append(f"--push-destination={ask.push}")
    if ask.append is not None:
        out.append(f"--append-tag={ask.append}")
    return out + list(ask.more)


def run(binary, ask, folder):
    """Asks overtag."""
    folder.mkdir()
    paths = folder / "overcloud_containers.yaml", folder / "overcloud_images.yaml"
    done = subprocess.run(
        [binary, "prepare", "--no-registry", *flags(ask), "--output-images-file", str(paths[0]),
         "--output-env-file", str(paths[1])],
        capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=120, cwd=folder,
        # A home of its own, or the environments of whoever runs this would count.
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "SOURCE_DATE_EPOCH": "0"})
    texts = [p.read_text(encoding="utf-8") if p.exists() else "" for p in paths]
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    docs = [yaml.load(t, Loader=loader) or {} for t in texts]
    return Got(done.returncode, done.stderr, docs[0].get("container_images"),
               docs[1].get("parameter_defaults"), texts, paths[0])


def default_roles(release):
    """The release's default roles file."""
    known = FACTS["roles-" + release]
    return [{"name": name, "CountDefault": known["roles"][name]["count_default"], "description": "a\nb\n",
             "ServicesDefault": list(known["roles"][name]["services"])} for name in known["default_roles"]]


def merged(paths):
    """The -e files as python-tripleoclient merges them: heatclient does it, and a file that does
    not exist (here also any template that a registry names) is an empty one."""
    def fetch(_method, path):
        return open(path, encoding="utf-8").read() if os.path.exists(path) else "{}"
    return template_utils.process_multiple_environments_and_files(
        [str(p) for p in paths], env_path_is_object=lambda _: True, object_request=fetch)[1]


def service_filter(ask, env, roles):
    """16.4.0's own filter from train on. The older releases' rules (prepare-semantics section 4)
    are not in 16.4.0, which is handed their outcome."""
    if ask.release not in RELEASES[:4]:
        return kb.build_service_filter(env, roles)
    if not roles or (ask.release in RELEASES[:2] and not ask.envs):
        return None
    registry = env.get("resource_registry") or {}
    counts = {"parameter_defaults": env.get("parameter_defaults") or {}}
    deployed = set().union(*kb.get_enabled_services(counts, roles).values())
    if ask.release in RELEASES[:2]:
        return {s for s in deployed if "/docker/services/" in registry.get(s, "")}
    return {s for s in deployed if registry.get(s) != "OS::Heat::None"
            and "/puppet/services" not in registry.get(s, "")}


def neutron_driver(ask, env, services):
    """What an environment makes of the driver (section 5); None: the release's default stays."""
    given, release = ask.set.get("neutron_driver"), ask.release
    drivers = (env.get("parameter_defaults") or {}).get("NeutronMechanismDrivers")
    if release in RELEASES[:2]:
        by_service = {"OpenDaylightApi": "odl", "OVNController": "ovn"}
        found = (d for s, d in by_service.items() if SERVICE + s in (services or ()))
        return next(found, None) if given is None else given
    if release == "train" and given:
        return given
    if release in RELEASES[2:5] and drivers and "opendaylight_v2" in drivers:
        return "odl"
    if release == "rocky":
        return "ovn" if drivers and "ovn" in drivers else given
    mapping = {"neutron_driver": None if release == "stein" else given}  # stein overrides what is given
    kb.set_neutron_driver(env.get("parameter_defaults"), mapping)
    return mapping["neutron_driver"]


def peer(ask, **more):
    """The peer's (list, parameters) for the same question, or its exception."""
    env = merged(ask.envs) if ask.envs else {}
    # The peer's command always has a roles file, and a default one; we have it once there is an environment.
    roles = default_roles(ask.release) if ask.envs else None
    if ask.roles:
        roles = yaml.safe_load(ask.roles.read_text())
    services = service_filter(ask, env, roles)
    mapping = dict(ask.set)
    if ask.envs:
        mapping["neutron_driver"] = neutron_driver(ask, env, services)
        if mapping["neutron_driver"] is None:
            del mapping["neutron_driver"]
    # Its defaults are all that 16.4.0 knows of a release; it cannot do without these two.
    kb.CONTAINER_IMAGES_DEFAULTS = (FACTS[ask.release]["defaults"] if FACTS
                                    else {"name_prefix": "", "name_suffix": ""})
    out = kb.container_images_prepare(**{**dict(
        template_file=str(ask.template), includes=ask.includes, excludes=ask.excludes,
        service_filter=services, mapping_args=mapping, push_destination=ask.push,
        append_tag=ask.append, output_env_file="params", output_images_file="images"), **more})
    return out["images"], out["params"]


def exact(value):
    """Something to compare by, for which 1, 1.0 and true are three."""
    return json.dumps(value, sort_keys=True, default=repr)


def difference(theirs, ours):
    """Where two (list, parameters) differ, in a few lines; none when they are equal."""
    images, params = ours[0] or [], ours[1]
    lines = []
    for i, (t, o) in enumerate(itertools.zip_longest(theirs[0], images)):
        if exact(t) != exact(o):
            lines += [f"container_images[{i}]:", f"  peer {t!r}", f"  ours {o!r}"]
            break
    if len(theirs[0]) != len(images):
        lines.append(f"entries: peer {len(theirs[0])}, ours {len(images)}")
        for who, a, b in (("peer", theirs[0], images), ("ours", images, theirs[0])):
            names = [e.get("imagename") for e in b]
            lines += [f"  only {who}: {e.get('imagename')}" for e in a if e.get("imagename") not in names][:4]
    if not isinstance(params, dict):
        return lines + [f"parameter_defaults: ours is {params!r}"]
    both = {k: [repr(side[k]) if k in side else "has none" for side in (theirs[1], params)] for k in {**theirs[1], **params}}
    unlike = [k for k, (t, o) in both.items() if t != o]
    lines += [f"parameter_defaults[{k!r}]: peer {both[k][0]}, ours {both[k][1]}" for k in unlike[:4]]
    return lines + ([f"  … {len(unlike)} parameters differ"] if len(unlike) > 4 else [])


# A check takes what overtag said and returns complaints: lines for a person, none when all is well.


def refused(got, code, *words):
    """Complaints unless overtag ended with `code`, one clean message with these words, and no file."""
    lines = [] if got.code == code else [f"exit status: expected {code}, ours {got.code}"]
    lines += ["a file was written"] if any(got.texts) else []
    lines += [] if got.err.startswith("overtag: ") else ["standard error does not start with `overtag: `"]
    lines += [f"standard error lacks {w!r}" for w in words if w not in got.err]
    return lines + (["a crash, not a message"] if "panicked" in got.err else [])


def answered(got, want):
    """Complaints unless overtag ended well and said `want`."""
    return difference(want, (got.images, got.params)) if got.code == 0 else [f"exit status: expected 0, ours {got.code}"]


def same(ask):
    """A check: both tools say the same. Nothing left is an empty file for the peer, without a word;
    contract section 5 has us say so, with status 1 and no file."""
    def check(got):
        theirs = peer(ask)
        if not theirs[0]:
            return refused(got, 1)
        lines = answered(got, theirs)
        if not lines and not ask.set:  # the peer's uploader can read our file
            read = kb.KollaImageBuilder([str(got.images_file)]).load_config_files("container_images")
            once = list(dict.fromkeys(e["imagename"] for e in theirs[0]))
            lines = [] if [e["imagename"] for e in read] == once else ["the peer reads our list differently"]
        return lines
    return check


def peer_fails(ask, kind, *words):
    """A check: the peer ends in this exception, overtag with status 2 and these words."""
    def check(got):
        try:
            peer(ask)
        except kind:
            return refused(got, 2, *words)
        return [f"the peer no longer raises {kind.__name__}: this case must be thought over"]
    return check

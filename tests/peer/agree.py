"""The cases in which both tools say the same: templates made from the facts of every release, and
a few of a user's own."""
import itertools
import pathlib

import yaml

from question import FACTS, RELEASES, SERVICE, Ask, default_roles, same

HASH = "3bdf2a1c0e5d4f60718293a4b5c6d7e8f9012345_0a1b2c3d"

# Python's syntax, searched in the whole name. Each is asked for two releases.
PATTERNS = [
    {"includes": ["keystone"]},
    {"includes": ["KEYSTONE"]},  # case counts, so nothing is left
    {"includes": ["(?i)KEYSTONE", "^nothing$"]},
    {"includes": ["nova-(?!compute)"]},
    {"includes": [r"(?<=nova-)api|(?<!-)-api(?=:)"]},
    {"includes": [r"([a-z])\1-"]},
    {"includes": [r"(?P<twice>[a-z])(?P=twice)"], "excludes": ["o"]},
    {"includes": ["nova"], "excludes": ["nova-api", "."]},  # excludes are not looked at
    {"includes": [r"-api:current-tripleo\Z", r"\bredis\b"]},
    {"includes": [r"(a)?pi(?(1)z|:)"]},
    {"includes": ["nova-[^:]{,4}:"]},
    {"includes": [""]},
    {"excludes": ["ceph"]},  # also a namespace's
    {"excludes": [r"neutron-(server|dhcp)", r"^\w+\.io/.*api", "swift"]},
    {"excludes": [r"(?x) nova - api  # the interface", r"-\w+-\w+:"]},
    {"excludes": ["keystone(?!-)", "-nova"]},
]
# What a switch in a template may be set to; alone, the other parts of a name print nothing.
CONDITIONS = {"ceph_images": "true", "rhel_containers": "true", "logging": "stdout",
              "ceph3_namespace": "c.example/three", "namespace_stein": "s.example/stein"}
DRIVERS = [None, [], ["openvswitch", "ovn"], ["openvswitch"], ["ovn-like"], "openvswitch,ovn", "sriov",
           ["opendaylight_v2", "ovn"], "opendaylight_v2"]

OWN_TEMPLATES = {
    "Jinja2 of one's own": """{# container_images_template: [] #}
{% set groups = {"b": ["B", "C"], "a": []} -%}
{% macro name(short, version=tag) -%}
"{{ namespace }}/{{ name_prefix ~ short|replace("_", "-") }}{{ name_suffix }}:{{ version }}"
{%- endmacro %}
other: ignored
container_images_template:
{%- for key in groups|sort %}
- imagename: {{ name("img_" ~ key) }}
  params: [{% for p in groups[key] %}Container{{ p }}Image{{ "" if loop.last else ", " }}{% endfor %}]
  number: {{ loop.index }}
{%- endfor %}
{% if no_such is defined %}
- imagename: never
{% elif tag in ["a", "current-tripleo"] and not no_such %}
- imagename: {{ name("x", "v" ~ (7 // 2)) }}
  text: "{{ no_such }}{{ no_such|default('d')|upper }} {% raw %}{{ tag }}{% endraw %}"
  list: {{ ["a", "b"]|join("+") }}-{{ groups|length }}-{{ groups.b|last|lower }}
{% endif %}
""",
    "YAML of one's own": """---
x: &common {image_source: tripleo, services: [A], deep: {list: [1, {a: b}], text: 'é'}}
container_images_template:
- <<: *common
  imagename: {{namespace}}/plain:{{tag}}   # a comment
  params: [P]
- {imagename: "h.example/\\x61\\u00e9:1", params: [Q, R], "image_source": 'it''s'}
- imagename: >-
    h.example/folded:1
  description: |
    two
    lines
- imagename: h.example/plain:1
- imagename: h.example/plain:1
  params: []
""",
    "what YAML 1.1 makes of plain scalars": "container_images_template:\n- imagename: h.example/a:1\n" + "".join(
        f"  k{i}: {word}\n" for i, word in enumerate(
            "on Off yes NO y n True ~ null 0777 08 1_000 0x1F 0b11 12:30:45 1:20.5 1e3 1.5e+3 .5 -1. '010' \"on\" !!str 1".split(" "))),
    "mappings in the order in which they are written": """{% set d = {"b": 1, "a": 2, "c": {"z": 1, "y": 2}} -%}
container_images_template:
{%- for k, v in d.items() %}
- imagename: "h.example/{{ k }}:1"
  params: [Container{{ loop.index }}Image]
{%- endfor %}
- imagename: h.example/last:1
  keys: {{ d.keys()|list|join }}
  list: {{ d|list|join }}
  items: {% for k, v in d|items %}{{ k }}{% endfor %}
  first: {{ d|first }}
  deep: {% for k in d.c %}{{ k }}{% endfor %}
  dict: {% for k in dict(z=1, y=2, x=3) %}{{ k }}{% endfor %}
  sorted: {% for k, v in d|dictsort %}{{ k }}{% endfor %}
  json: '{{ {"b": 1, "a": [2]}|tojson }}'
""",
    "no image but that": "container_images_template:\n- imagename: h.example/a:1\n",
    "an empty list is no error, but leaves no image": "container_images_template: []\n",
}


def when(facts):
    """The Jinja2 condition of an entry or service, or an empty text."""
    parts = [facts["condition"]] if facts.get("condition") else []
    for key, words in (("in", "in"), ("not_in", "not in")):
        if key in (facts.get("neutron_driver") or {}):
            parts.append(f"neutron_driver {words} {facts['neutron_driver'][key]!r}")
    return " and ".join(f"({p})" for p in parts)


def template_of(images):
    """The template that the facts were read off, in the plain style of the real ones."""
    lines = ["container_images_template:", ""]
    for image in images:
        part = [f'- imagename: "{image["imagename"]}"']
        part += [f"  image_source: {image['image_source']}"] if image["image_source"] else []
        part += ["  params:"] * bool(image["params"]) + [f"  - {p}" for p in image["params"]]
        extra = image.get("services_if") or []
        part += ["  services:"] * bool(image["services"] or extra) + [f"  - {s}" for s in image["services"]]
        for service in extra:
            part += [f"  {{% if {when(service)} %}}", f"  - {service['service']}", "  {% endif %}"]
        lines += [f"{{% if {when(image)} %}}", *part, "{% endif %}", ""] if when(image) else [*part, ""]
    return "\n".join(lines)


def of_release(release, facts, folder):
    """(name, question) for a release; templates and files are written below `folder`."""
    number, fresh = RELEASES.index(release), itertools.count()
    old_rules = release in RELEASES[:2]

    def put(name, data):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        return path

    # Every second release is asked in the established tool's spelling of the flags.
    base = Ask(release, put("template.yaml.j2", template_of(facts["images"])), old=bool(number % 2))
    ask = base._replace
    yield "defaults", base
    yield "the built-in template", ask(built_in=True)
    yield "the built-in template, everything set", ask(built_in=True, set={k: f"x.{k}" for k in facts["defaults"]})
    yield "names", ask(set={"namespace": "registry.example:5000/a/b", "name_prefix": "source",
                            "name_suffix": "x86", "tag": HASH})
    for what, prefix, suffix, tag in (
            ("nothing", "", "", "0"), ("hyphens", "rhel-", "-s", "2025.1"),
            ("double hyphens", "a--", "--z", "1e10"), ("hyphens alone", "-", "-", "on")):
        yield f"prefix and suffix: {what}", ask(set={"name_prefix": prefix, "name_suffix": suffix, "tag": tag})
    for driver in ("ovn", "odl", "other", ""):
        yield f"driver {driver!r}", ask(set={"neutron_driver": driver})
    yield "ceph by its flags", ask(set={"ceph_namespace": "c.example/ceph", "ceph_image": "d", "ceph_tag": "v7"})
    yield "every substitution", ask(set={k: f"{k}-1.5" for k in facts["defaults"] if k != "rhel_containers"})
    asked = " ".join(i["condition"] for i in facts["images"] if i["condition"])
    for name in (n for n in CONDITIONS if n in asked):
        yield f"{name} set", ask(set={name: CONDITIONS[name]})
    if "namespace_stein" in asked:
        yield "the older images, whole", ask(set={
            "ceph3_namespace": "c.example/c", "ceph3_image": "daemon", "ceph3_tag": "v3",
            "namespace_stein": "s.example/s", "name_prefix_stein": "p", "name_suffix_stein": "", "tag_stein": "t"})
    for pattern in PATTERNS[number % 4::4]:
        yield f"patterns {pattern}", ask(**pattern)
    yield "push destination", ask(push="192.0.2.1:8787")
    yield "push destination with a path", ask(push="under.cloud:8787/a", excludes=["ceph"])

    # Roles and environments. Services are mapped in seven ways by turns.
    roles_file = put("roles_data.yaml", default_roles(release) + [{"name": "Bare"}])  # neither count nor services
    ways = ["../docker/services/x.yaml", "../puppet/services/x.yaml", "OS::Heat::None", "OS::Own::Thing",
            "../../docker/services/x.yaml", "/usr/share/templates/docker/services/x.yaml", None]
    every = sorted({s for i in facts["images"] for s in i["services"]} | {SERVICE + "OVNController"})
    mapped = {"resource_registry": {s: w for s, w in zip(every, itertools.cycle(ways)) if w}}
    few = [SERVICE + s for s in ("NovaApi", "Keystone", "Redis", "NovaCompute", "SwiftProxy", "OVNDBs", "AodhApi")]
    docker = {"resource_registry": {s: "../docker/services/x.yaml" for s in
                                    [*few, SERVICE + "OVNController", SERVICE + "OpenDaylightApi"]}}

    def with_env(*data, **more):
        return ask(**{"roles": roles_file, "envs": [put(f"environments/{next(fresh)}.yaml", d) for d in data], **more})

    def defaults(**values):
        return {"parameter_defaults": values}

    yield "roles alone", ask(roles=roles_file)
    yield "a sparse registry", with_env({"resource_registry": {few[0]: "OS::Heat::None", few[1]: "../docker/services/k.yaml"}})
    # A relative path is made absolute, by its file's folder, before it is looked at.
    yield "paths beside the environment", with_env({"resource_registry": {
        s: f"{kind}/services/x.yaml" for s, kind in zip(every, itertools.cycle(["docker", "puppet"]))}})
    yield "counts", with_env(mapped, defaults(ControllerCount="3", ComputeCount=0, CephStorageCount=1, BareCount=2))
    yield "a count below zero", with_env(mapped, defaults(ControllerCount=-1))
    yield "no registry", with_env(defaults(ControllerCount=0))
    yield "no roles file", with_env(mapped, defaults(ControllerCount="1", CephStorageCount=2), roles=None)
    yield "every count 0", with_env(mapped, defaults(ControllerCount=0, ComputeCount="0"))
    yield "services replaced", with_env(mapped, defaults(ControllerCount=0, ComputeServices=every[:40]))
    yield "services of a role that is not deployed", with_env(mapped, defaults(BlockStorageServices=every))
    yield "later files win", with_env(
        mapped, defaults(ControllerCount=0, ComputeServices=every), "resource_registry:\nparameter_defaults:\n",
        {"resource_registry": {every[0]: "OS::Heat::None", every[1]: "../docker/services/y.yaml"}},
        defaults(ControllerCount="1", ComputeServices=every[:9], Stamp="2017-05-30"), "---\n# nothing\n")
    yield "roles and patterns", with_env(mapped, includes=["nova", "api", "ceph"], excludes=["nova"], set={"tag": HASH})
    yield "roles and push destination", with_env(mapped, push="r.example", set={"namespace": "n.example/x"})
    # A few images are enough to tell drivers apart, with a role that has all of their services.
    small = put("small.yaml.j2", template_of(
        facts["images"][:1] + [i for i in facts["images"] if i["neutron_driver"] or i.get("services_if")]))
    all_in = put("all_in.yaml", [{"name": "All", "CountDefault": 1, "ServicesDefault": every}])
    for service, given in itertools.product(("OVNController", "OpenDaylightApi"), ({}, {"neutron_driver": "other"})):
        yield f"service {service}, {given}", with_env(
            docker, defaults(ControllerServices=[*few, SERVICE + service]), template=small, set=given)
    # The two oldest releases do not look at this parameter.
    for drivers, given in () if old_rules else itertools.product(DRIVERS, (None, "odl", "")):
        if given == "" and (release in RELEASES[:4] or drivers != ["ovn-like"]):
            continue  # the older releases' rules say nothing of an empty text
        yield f"drivers {drivers!r}, given {given!r}", with_env(
            defaults(**({} if drivers is None else {"NeutronMechanismDrivers": drivers})), roles=all_in, template=small,
            set={} if given is None else {"neutron_driver": given})


def cases(tmp: pathlib.Path):
    """All (name, question, check) of this file."""
    for release in RELEASES:
        for name, ask in of_release(release, FACTS[release], tmp / release):
            yield f"{release}: {name}", ask, same(ask)
    for i, (name, text) in enumerate(OWN_TEMPLATES.items()):
        ask = Ask(template=tmp / f"own-{i}.j2")
        ask.template.write_text(text)
        yield name, ask, same(ask)
    # A switch means what it says in a condition, and is still the word that was given when printed. Only
    # the first `=` ends a name.
    ask = Ask(template=tmp / "printed.j2", set={"yes": "true", "no": "false", "other": "True", "pair": "a=b=c"})
    ask.template.write_text('container_images_template:\n- imagename: "h.example/{{yes}}-{{no}}-{{other}}:{{pair}}"\n')
    yield "switches and pairs, printed", ask, same(ask)

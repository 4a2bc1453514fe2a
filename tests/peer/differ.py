"""The cases in which overtag differs from the peer on purpose. Each says what the peer does, what we
do and why, and holds both to it: a peer that no longer differs is a failure too."""
import json
import pathlib
import re

import jinja2
import yaml

from tripleo_common.image import image_uploader

from question import Ask, answered, peer, peer_fails, refused, same

KEYSTONE = "ContainerKeystoneImage"  # one parameter that stands for all


def cases(tmp: pathlib.Path):
    """All (name, question, check) of this file; to be asked after agree.cases, whose templates it uses."""
    roles, ask = tmp / "wallaby" / "roles_data.yaml", Ask(template=tmp / "wallaby" / "template.yaml.j2")._replace
    train = Ask("train", tmp / "train" / "template.yaml.j2")

    def put(name, text):
        path = tmp / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def listing(*names):
        return "container_images_template:\n" + "".join(
            f'- imagename: "{n}"\n  params: [P{i}]\n' for i, n in enumerate(names))

    def unless(holds, complaint):
        return [] if holds else [complaint]

    # --set gives the peer text, and a text that says false is true in a condition. For us it is false.
    for name in ("ceph_images", "rhel_containers"):
        wrong, right = train._replace(set={name: "false"}), train._replace(set={name: False})
        yield f"--set {name}=false", wrong, lambda got, wrong=wrong, right=right: (
            answered(got, peer(right)) + unless(peer(wrong) != peer(right), "the peer no longer differs"))

    # To the peer a plain date is a date, and it writes it as one; to us it is the text as written, and every reader gives back just that.
    words = "2017-05-30 2001-12-14t21:59:43.10-05:00".split()
    dates = ask(template=put("dates/t.j2", "container_images_template:\n- imagename: h.example/a:1\n" + "".join(
        f"  k{i}: {word}\n" for i, word in enumerate(words))))
    yield "dates", dates, lambda got: (
        unless([got.images[0].get(f"k{i}") for i in range(len(words))] == words, f"not as written: {got.images}")
        + unless(not isinstance(peer(dates)[0][0]["k0"], str), "the peer no longer differs"))

    # A number beyond 64 bits is a number to the peer; to us it is the text as written.
    large = "9" * 30
    number = ask(template=put("large/t.j2", f"container_images_template:\n- imagename: h.example/a:1\n  k: {large}\n"))
    yield "a number beyond 64 bits", number, lambda got: (
        unless(got.images[0].get("k") == large, f"not as written: {got.images}")
        + unless(peer(number)[0][0]["k"] == int(large), "the peer no longer differs"))

    # The peer writes `//`, and such a reference cannot be pulled.
    slash = ask(push="r.example:8787/")
    def single(got):
        images = [{**e, "push_destination": e.get("push_destination", "").rstrip("/")} for e in got.images or []]
        return (answered(got._replace(images=images), peer(ask(push="r.example:8787")))
                + unless("8787//" in peer(slash)[1][KEYSTONE], "the peer no longer differs"))
    yield "push destination with a slash at its end", slash, single

    # The peer takes the first part of any name for a host, so the organisation or all of it is lost.
    names = ["tripleoupstream/centos-binary-x:t", "mariadb:t", "localhost/a/b:t", "host:5000/c:t", "h.example/d:t"]
    hostless = ask(template=put("hostless.j2", listing(*names)), push="r.example")
    def whole(got):
        theirs, kept = peer(hostless), [*names[:2], "a/b:t", "c:t", "d:t"]
        want = {f"P{i}": f"r.example/{n}" for i, n in enumerate(kept)}
        lost = {**want, "P0": "r.example/centos-binary-x:t", "P1": "r.example/"}
        # The list names them with their host, so that the peer's uploader pushes them to where the environment points.
        listed = [{**e, "imagename": n if n.split("/")[0] in ("localhost", "host:5000", "h.example") else f"docker.io/{n}"}
                  for e, n in zip(theirs[0], names)]
        pushed = {f"P{i}": image_uploader.UploadTask(e["imagename"], None, "r.example", "", None, None, "none", False).target_image
                  for i, e in enumerate(got.images or [])}
        return (answered(got, (listed, want)) + unless(pushed == want, f"its uploader pushes to {pushed}")
                + unless(theirs[1] == lost, f"the peer now says {theirs[1]}"))
    yield "names without a host keep their path when pushed", hostless, whole

    # The peer adds to a tag only where a role modified the image. We modify none, and add what we are told to.
    hotfix = ask(append="-hotfix", push="r.example")
    def is_added(got):
        images, params = peer(hotfix)
        return (answered(got._replace(images=[]), ([], peer(hotfix, modify_role="r")[1]))
                + unless([e["imagename"] for e in got.images or []] == [e["imagename"] for e in images], "the list must name the sources")
                + unless(params[KEYSTONE].endswith(":current-tripleo"), "the peer now adds without a role"))
    yield "--append-tag", hotfix, is_added

    # To the peer a file that is not there is an empty one, so a misspelt name goes unseen.
    missing = ask(envs=[tmp / "mis-spelt.yaml"])
    yield "an environment that is not there", missing, lambda got: (
        refused(got, 2, "mis-spelt.yaml") + unless(peer(missing)[0], "the peer now minds"))

    # What remains of a section when all of its lines are commented out: a crash, and for us an empty one.
    null = ask(roles=roles, envs=[put("null.yaml", "parameter_defaults:\n")])
    empty = ask(roles=roles, envs=[put("empty.yaml", "parameter_defaults: {}\n")])
    def is_empty(got):
        try:
            peer(null)
        except AttributeError:
            return same(empty)(got)
        return ["the peer now accepts it"]
    yield "parameter_defaults left empty", null, is_empty

    # Of two entries that name one parameter the later wins, in both; only we say a word.
    twice = ask(template=put("twice.j2", "container_images_template:\n" + "".join(
        f"- imagename: h.example/{n}:1\n  params: [ContainerSharedImage]\n" for n in "ab")))
    yield "two entries, one parameter", twice, lambda got: same(twice)(got) + unless(
        "ContainerSharedImage" in got.err or re.search("(?m)^#.*ContainerSharedImage", "\n".join(got.texts)),
        "neither standard error nor a file's head names the parameter")

    # An undefined variable prints nothing in both; only we say which it was, and where.
    unknown = ask(template=put("unknown.j2", listing("h.example/a{{ misspelt }}:1")))
    yield "an undefined variable", unknown, lambda got: same(unknown)(got) + unless(
        "misspelt" in got.err and re.search(r"\b2\b", got.err), "standard error does not name the variable and line 2")

    # The peer includes from the installed folder alone; we from the one that the template is in.
    put("including/ceph.j2", "- imagename: h.example/mine:1\n")
    main = ask(template=put("including/main.j2", "container_images_template:\n{% include 'ceph.j2' %}\n"))
    def neighbour(got):
        right = peer(main, template_dir=str(main.template.parent))
        return answered(got, right) + unless(peer(main) != right, "the peer no longer differs")
    yield "a template that includes its neighbour", main, neighbour

    # A name without a tag, or with what is no tag, cannot be pulled; the peer writes it all the same.
    for tag in ("", "a b", "12:30", "a/b", "-a", "a" * 129):
        no_tag = ask(set={"tag": tag})
        yield f"no tag: {tag[:9]!r}", no_tag, lambda got, no_tag=no_tag: (
            refused(got, 2, "tag") + unless(peer(no_tag)[0], "the peer now minds"))

    # A value may leave its place in the peer's YAML: a quotation mark ends in a stack trace, and a
    # well-made value adds an entry. We keep it in its place or refuse it.
    for value in ('a"b', 'a"\n- imagename: "evil'):
        leaving = ask(template=put("quoted.j2", 'container_images_template:\n- imagename: "h.example/x:{{text}}"\n'), set={"text": value})
        def stays(got, leaving=leaving, value=value):
            try:
                harmless = len(peer(leaving)[0]) == 1
            except yaml.YAMLError:
                harmless = False
            lines = refused(got, 2) if got.code == 2 else answered(got, ([{"imagename": "h.example/x:" + value}], {}))
            return lines + unless(not harmless, "the peer now keeps the value in its place")
        yield f"a value with a quotation mark: {value!r}", leaving, stays

    # The rest ends in a stack trace there, and in one line and status 2 here.
    for pattern in ("nova-(api", "*nova", r"(?P<n>a)(?P=m)", "[z-a]"):
        for where in ("includes", "excludes"):
            bad = ask(**{where: [pattern]})
            yield f"a bad pattern in {where}: {pattern}", bad, peer_fails(bad, re.error, pattern)
    for value, kind in (("many", ValueError), ("3.5", ValueError), (None, TypeError)):
        env = put(f"count-{value}.yaml", json.dumps({"parameter_defaults": {"ControllerCount": value}}))
        bad = ask(roles=roles, envs=[env])
        yield f"ControllerCount {value!r}", bad, peer_fails(bad, kind, "ControllerCount", value or "")
    for name, text, word in (("section", "parameter_default: {}\n", "parameter_default"), ("list", "- a\n", ""),
                             ("broken", "parameter_defaults: [\n", "")):
        bad = ask(envs=[put(f"{name}.yaml", text)])
        yield f"a bad environment: {name}", bad, peer_fails(bad, ValueError, f"{name}.yaml", word)
    for name, text, kind, *words in (
            ("syntax", "container_images_template:\n\n{% if %}\n", jinja2.TemplateSyntaxError, "3"),
            ("broken", "container_images_template:\n- imagename: [\n", yaml.YAMLError),
            ("keyless", "container_images: []\n", KeyError, "container_images_template"),
            ("null", "container_images_template:\n", TypeError),
            ("scalar", "container_images_template:\n- text\n", ValueError),
            ("empty", "", TypeError)):
        bad = ask(template=put(f"{name}.j2", text))
        yield f"a bad template: {name}", bad, peer_fails(bad, kind, f"{name}.j2", *words)
    for what, bad in (("template", ask(template=tmp / "absent.file")), ("roles file", ask(roles=tmp / "absent.file"))):
        yield f"a {what} that is not there", bad, peer_fails(bad, OSError, "absent.file")
    # The peer's command, not its library, splits these; it ends with an error as well.
    yield "--set without =", ask(more=["--set", "tag"]), lambda got: refused(got, 2, "tag")

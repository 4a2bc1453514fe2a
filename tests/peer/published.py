"""Environments and roles files shaped like published ones, in corpus/: both tools make the same list of them, with every
end of line and with a byte order mark."""
import pathlib

import yaml

from agree import template_of
from question import FACTS, SERVICE, Ask, default_roles, same

CORPUS = pathlib.Path(__file__).with_name("corpus")
SPELLINGS = {"as it is": lambda b: b, "CRLF": lambda b: b.replace(b"\n", b"\r\n"),
             "a byte order mark": lambda b: b"\xef\xbb\xbf" + b, "no end of the last line": lambda b: b.rstrip(b"\n")}


def cases(tmp: pathlib.Path):
    """All (name, question, check) of this file."""
    files = sorted(CORPUS.glob("*.yaml"))
    assert len(files) > 8, "the corpus is not there"
    for release in ("queens", "rocky", "train", "wallaby"):
        folder = tmp / "published" / release
        folder.mkdir(parents=True)
        template = folder / "template.yaml.j2"
        template.write_text(template_of(FACTS[release]["images"]))
        roles = folder / "roles_data.yaml"
        roles.write_text(yaml.safe_dump(default_roles(release)))
        # The oldest releases count what is mapped to docker services alone.
        every = sorted({s for i in FACTS[release]["images"] for s in i["services"]} | {SERVICE + "OVNController"})
        mapped = folder / "mapped.yaml"
        mapped.write_text(yaml.safe_dump({"resource_registry": {s: "../docker/services/x.yaml" for s in every}}))
        for file in files:
            for spelling, spell in SPELLINGS.items():
                path = folder / f"{spelling} {file.name}"
                path.write_bytes(spell(file.read_bytes()))
                if file.name.startswith("roles-"):
                    ask = Ask(release, template, roles=path, envs=[mapped])
                else:
                    ask = Ask(release, template, roles=roles, envs=[mapped, path])
                yield f"{release}: {file.name}, {spelling}", ask, same(ask)

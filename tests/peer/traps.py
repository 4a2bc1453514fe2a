"""The second form: strings that a reader of YAML takes for something else, or that are hard to quote,
come back from our files as they went in."""
import pathlib
import re

import yaml

from question import Ask, same

TRAPS = """on off yes no y n YES NO On true false True TRUE null Null NULL ~ 1 -1 +1 1e10 1E5 1e3 .5 5. 1.5 6.02e+23
.inf -.inf .NaN 0777 0o7 0o17 0x1F 0b101 1_000 1_0.5 12:30:45 1:2 190:20:30.15 2017-05-30 2017-05-30T12:30:45Z 2025.1 = <<
- -- --- ... ? ! !tag !!str &a *a %x @x `x {a} [a] {a,b} [] {} | > |- >- , # a#b : a: :a a:b ' " '' "" it's 'a' "a" a" \\ \\n
{ } [ ] + . .. / 08 09 0 00 0. 0x 1e 1e+ 1.e1 NULLs onn""".split() + [
    "", " ", "  ", " a", "a ", " a ", "- a", "? a", "a: b", ": a", "a #b", "# a", "a:  ", "a\tb", "\ta", "a\t", "a\nb", "a\n",
    "\na", "a\n\nb\n", "a\r\nb", "a\rb", "é", "漢字", "😀", "\ufeffx", "a\u0085b", "a\u2028b", "a\u00a0b", "\x07", "\x1b[0m", "\x7f",
    "a\n  b", "  a\nb", "--- a", "... a", "a\n---\nb", "'a' b", '"a" b', "a, b", "a] b", "a} b", "!a b", "key: 'v", "2017-05-30 12:30:45",
    "word " * 199 + "end", "x" * 900, ("word  " * 300).strip(), "x " * 700 + "x"]
TAGS = "1e10 2025.1 on NO null 0777 0o7 0x1F 1_000 2017-05-30 1.5".split()
VALUES = "~ 12:30:45 = << 1e10 on Null".split()  # no tags, for --set
# What plain text is no string in YAML 1.2's core schema. PyYAML cannot tell: it knows YAML 1.1 alone.
CORE = re.compile(r"|~|null|Null|NULL|true|True|TRUE|false|False|FALSE|[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
                  r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")


def strings_only(got):
    """Complaints about plain text in our files (where all is text) that YAML 1.2 reads otherwise."""
    found = set()
    for text in got.texts:
        found |= {e.value for e in yaml.parse(text) if isinstance(e, yaml.ScalarEvent) and e.style is None}
    return [f"plain {v!r} is no string in YAML 1.2" for v in sorted(found) if CORE.fullmatch(v)]


def cases(tmp: pathlib.Path):
    """All (name, question, check): a template for each text, with everything in it quoted."""
    def ask_of(name, text, **values):
        ask = Ask(template=tmp / f"{name}.j2", set={"tag": "t", **values})
        ask.template.write_text(text)
        return ask, lambda got: same(ask)(got) or strings_only(got)

    for i, text in enumerate(dict.fromkeys(TRAPS)):
        entries = [{"imagename": f"h.example/x{i}:1", "note": text, "deep": {"list": [text, text]}}]
        if len(text) <= 1000:  # a key can be no longer in YAML
            entries[0].update({"params": [text]})
            entries[0].update({"keys": {text: text}} if text != "<<" else {})  # a key that nobody has
        if re.fullmatch(r"\S+", text) and text.isprintable():  # no rule says what a name may be
            entries.append({"imagename": text, "params": [f"Name{i}"]})
        quoted = yaml.safe_dump({"container_images_template": entries}, default_style='"', width=10 ** 6)
        yield repr(text[:40]), *ask_of(i, quoted.replace("{", '{{"{"}}'))  # or Jinja2 might see something in it
    for name, values in (("tag", TAGS), ("value", VALUES)):
        both = ('container_images_template:\n- {imagename: "h.example/x:{{NAME}}", params: [P]}\n'
                '- {imagename: "{{NAME}}", params: [Q]}\n').replace("NAME", name)
        for value in values:
            yield f"{name} {value}", *ask_of(name, both, **{name: value})

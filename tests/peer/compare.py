#!/usr/bin/env python3
"""Compares overtag with the established tool, tripleo-common 16.4.0.

    PYTHON compare.py --overtag BINARY --facts FOLDER [--only REGEX]
    PYTHON compare.py --overtag BINARY --yaml [--only REGEX]

PYTHON has tripleo-common 16.4.0 installed. The peer's library runs in this process, and nothing
here touches a network. The first form renders and filters templates of all releases with both
tools and compares the lists (order too) and the parameters exactly (agree.py); the places where
overtag differs on purpose are cases as well, and hold both tools to what is written there
(differ.py). The second form asks whether PyYAML reads back the very strings that went in
(traps.py). The last line is `N passed, M failed`; the exit status is 0 only when something was
compared and nothing failed.
"""
import sys

sys.dont_write_bytecode = True  # the checkout stays as it was

import argparse  # noqa: E402
import concurrent.futures  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import pathlib  # noqa: E402
import re  # noqa: E402
import tempfile  # noqa: E402

import agree  # noqa: E402
import differ  # noqa: E402
import published  # noqa: E402
import traps  # noqa: E402
from question import FACTS, RELEASES, flags, run  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--overtag", required=True, help="the binary")
    p.add_argument("--facts", type=pathlib.Path, help="the folder of RELEASE.json and roles-RELEASE.json")
    p.add_argument("--yaml", action="store_true", help="the second form")
    p.add_argument("--only", default="", help="run the cases whose name this pattern is found in")
    args = p.parse_args()
    if not (args.yaml or args.facts):
        p.error("--facts is needed")
    binary = os.path.abspath(args.overtag)
    for name in () if args.yaml else (*RELEASES, *("roles-" + r for r in RELEASES)):
        FACTS[name] = json.loads((args.facts / f"{name}.json").read_text(encoding="utf-8"))

    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        tmp = pathlib.Path(folder).resolve()
        (tmp / "ours").mkdir()
        cases = list(traps.cases(tmp)) if args.yaml else [*agree.cases(tmp), *differ.cases(tmp), *published.cases(tmp)]
        cases = [c for c in cases if re.search(args.only, c[0])]
        # The binary's runs go on beside the peer's, which are the slower ones.
        runs = [pool.submit(run, binary, ask, tmp / "ours" / str(i)) for i, (_, ask, _) in enumerate(cases)]
        for (name, ask, check), future in zip(cases, runs):
            got = None
            try:
                got = future.result()
                lines = check(got)
            except Exception as e:  # one bad case must not hide the others
                lines = [f"{type(e).__name__}: {e}"]
            passed, failed = passed + (not lines), failed + bool(lines)
            if lines:
                if got and got.err:
                    lines.append(f"ours said, with status {got.code}: {got.err.strip()[-600:]}")
                shown = " ".join(f if len(f) < 200 else f[:200] + "…" for f in flags(ask))
                print(f"FAILED {name}\n    overtag prepare {shown}", *lines, sep="\n    ", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

"""DLRN's own API server on a database of its own, for tests.

dlrn_server.py FOLDER add    reads commits, promotions and votes as JSON from standard input, and puts them into the database
dlrn_server.py FOLDER serve  serves them on a free loopback port, and prints it
"""
import json
import os
import sys
import warnings

warnings.simplefilter("ignore")
folder, verb = sys.argv[1:]
ini = os.path.join(folder, "projects.ini")
# Once: the server reads them with each request, so also while more is added.
if not os.path.exists(ini):
    with open(ini, "w") as file:
        file.write("[DEFAULT]\nbaseurl=https://trunk.example.org/centos9\n")
    with open(os.path.join(folder, "api.cfg"), "w") as file:
        file.write(f"DB_PATH='sqlite:///{folder}/commits.sqlite'\nCONFIG_FILE='{ini}'\nREPO_PATH='{folder}'\n")
os.environ["CONFIG_FILE"] = os.path.join(folder, "api.cfg")
# Its log goes beside the database, and not into the tests' folder.
os.chdir(folder)

from dlrn import db  # noqa: E402

session = db.getSession(f"sqlite:///{folder}/commits.sqlite")
if verb == "add":
    data = json.load(sys.stdin)

    def commit(hashes):
        keys = dict(zip(("commit_hash", "distro_hash", "extended_hash"), hashes))
        known = session.query(db.Commit).filter_by(**keys).first()
        if known is None:
            known = db.Commit(project_name="nova", status="SUCCESS", dt_commit=1, dt_build=1, component="compute", **keys)
            session.add(known)
            session.flush()
        return known

    for vote in data["votes"]:
        common = dict(ci_name=vote["job"], ci_url=vote["url"], ci_vote=vote["success"], ci_in_progress=vote["running"],
                      timestamp=vote["at"], notes="", user="ci")
        if vote["aggregate"]:
            session.add(db.CIVote_Aggregate(ref_hash=vote["aggregate"], **common))
        else:
            voted = commit(vote["commit"])
            session.add(db.CIVote(commit_id=voted.id, component=voted.component, **common))
    for promotion in data["promotions"]:
        session.add(db.Promotion(commit_id=commit(promotion["commit"]).id, promotion_name=promotion["channel"],
                                 timestamp=promotion["at"], user="ci", component="compute",
                                 aggregate_hash=promotion["aggregate"]))
    session.commit()
else:
    from dlrn.api import app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"listening on {server.port}", flush=True)
    server.serve_forever()

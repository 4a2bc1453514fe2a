//! DLRN's own API server, which other tests use: what it answers, field by field, and that a page can read it through nginx.

use serde_json::{Value, json};
use support::dlrn::{Dlrn, Hashes};

/// Sat, 30 May 2026 00:49:16 UTC.
const EPOCH: u64 = 1_780_102_156;
const AGGREGATE: &str = "0123456789abcdef0123456789abcdef";

/// The status, the origins that may read the answer (its CORS header), and the answer.
fn get(origin: &str, target: &str) -> (u16, Option<String>, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{origin}{target}");
    let mut answer = agent.get(&url).call().unwrap_or_else(|e| panic!("{url}: {e}"));
    let readers = answer.headers().get("access-control-allow-origin").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = answer.body_mut().read_to_string().unwrap_or_else(|e| panic!("{url}: {e}"));
    let json = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{url}: {e} in {body}"));
    (answer.status().as_u16(), readers, json)
}

#[test]
fn dlrn_server_reports_promotions_and_votes() {
    let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(|i: u8| i.to_string().repeat(40));
    let both = format!("{five}_{one}");
    let plain = Hashes { commit: &one, distro: &two, extended: None };
    let extended = Hashes { commit: &three, distro: &four, extended: Some(&both) };
    let dlrn = Dlrn::start();
    dlrn.promote("tripleo-ci-testing", plain, None, EPOCH);
    dlrn.promote("current-tripleo", plain, None, EPOCH + 100);
    dlrn.promote("current-tripleo", extended, Some(AGGREGATE), EPOCH + 50);
    dlrn.vote(plain, None, "job-passed", "success", EPOCH + 1);
    dlrn.vote(plain, None, "job-failed", "failure", EPOCH + 2);
    dlrn.vote(plain, None, "job-running", "running", EPOCH + 3);
    dlrn.vote(plain, Some(AGGREGATE), "job-whole", "failure", EPOCH + 4);

    // The promotion added last comes first, whatever its time. `repo_hash` has no extended part, the address has.
    let base = "https://trunk.example.org/centos9/component/compute";
    let newest = json!({
        "timestamp": EPOCH + 50, "promote_name": "current-tripleo", "aggregate_hash": AGGREGATE,
        "commit_hash": three, "distro_hash": four, "extended_hash": both,
        "repo_hash": format!("{three}_44444444"), "repo_url": format!("{base}/33/33/{three}_44444444_55555555_11111111"),
        "component": "compute", "user": "ci",
    });
    let first = json!({
        "timestamp": EPOCH + 100, "promote_name": "current-tripleo", "aggregate_hash": null,
        "commit_hash": one, "distro_hash": two, "extended_hash": null,
        "repo_hash": format!("{one}_22222222"), "repo_url": format!("{base}/11/11/{one}_22222222"),
        "component": "compute", "user": "ci",
    });
    let url = dlrn.url();
    let promotions = "/api/promotions?promote_name=current-tripleo&limit=100";
    assert_eq!(get(&url, promotions), (200, None, json!([newest, first])));
    assert_eq!(get(&url, &format!("/api/promotions?aggregate_hash={AGGREGATE}")), (200, None, json!([newest])));
    let second = "/api/promotions?promote_name=current-tripleo&limit=1&offset=1";
    assert_eq!(get(&url, second), (200, None, json!([first])));

    let votes = |(status, _, answer): (u16, Option<String>, Value)| {
        assert_eq!(status, 200, "{answer}");
        let rows = answer.as_array().unwrap_or_else(|| panic!("no list: {answer}")).iter();
        rows.map(|v| json!([v["job_id"], v["success"], v["in_progress"], v["timestamp"], v["url"], v["notes"]]))
            .collect::<Vec<_>>()
    };
    let log = |job: &str| format!("https://logs.example.org/{job}");
    assert_eq!(
        votes(get(&url, &format!("/api/repo_status?commit_hash={one}&distro_hash={two}"))),
        [
            json!(["job-passed", true, false, EPOCH + 1, log("job-passed"), ""]),
            json!(["job-failed", false, false, EPOCH + 2, log("job-failed"), ""]),
            // While a job runs, it is not a success.
            json!(["job-running", false, true, EPOCH + 3, log("job-running"), ""]),
        ]
    );
    // The votes of an aggregate are not votes of its packages.
    let whole = get(&url, &format!("/api/agg_status?aggregate_hash={AGGREGATE}"));
    assert_eq!(whole.2[0]["aggregate_hash"], AGGREGATE);
    assert_eq!(votes(whole), [json!(["job-whole", false, false, EPOCH + 4, log("job-whole"), ""])]);
    let of = |extended: &str| format!("/api/repo_status?commit_hash={three}&distro_hash={four}&extended_hash={extended}");
    assert_eq!(get(&url, &of(&both)), (200, None, json!([])));

    // An unknown package gives 400; an unknown aggregate or channel gives an empty list.
    let unknown = json!({ "message": "commit_hash+distro_hash+extended_hash combination not found" });
    assert_eq!(get(&url, &of(&five)), (400, None, unknown.clone()));
    for nothing in ["/api/agg_status?aggregate_hash=nope", "/api/promotions?promote_name=nope"] {
        assert_eq!(get(&url, nothing), (200, None, json!([])), "{nothing}");
    }

    // Through nginx a page can read all of that, and what is added later.
    let front = dlrn.front();
    let anyone = Some("*".to_owned());
    assert_eq!(get(&front.origin, promotions), (200, anyone.clone(), json!([newest, first])));
    assert_eq!(get(&front.origin, &of(&five)), (400, anyone.clone(), unknown));
    dlrn.promote("current-tripleo", plain, None, EPOCH + 200);
    let (status, readers, later) = get(&front.origin, promotions);
    assert_eq!((status, readers, &later[0]["timestamp"]), (200, anyone, &json!(EPOCH + 200)));
    assert_eq!(later.as_array().map(Vec::len), Some(3), "{later}");
}

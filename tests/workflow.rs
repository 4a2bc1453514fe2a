//! The order of the steps that page and command line take, on the demo's registry.

use overtag::engine::board::{Grid, stages};
use overtag::engine::demo;
use overtag::engine::options::link;
use overtag::engine::options::settings::Settings;
use overtag::engine::registry::auth::Logins;
use overtag::engine::registry::http::Moment;
use overtag::engine::resolve::Facts;
use overtag::engine::session::{Client, Next, Run};
use overtag::engine::snapshot::Snapshot;
use overtag::engine::template::Files;
use overtag::engine::template::plan::Plan;
use overtag::engine::time::{Millis, Timestamp};
use overtag::engine::workflow::board::{BoardWorkflow, Subject};
use overtag::engine::workflow::compare::{CompareNeed, CompareWorkflow, Request, tags};
use overtag::engine::workflow::snapshot::SnapshotWorkflow;
use overtag::engine::workflow::{Need, prepare};

const NOW: Timestamp = Timestamp(1_496_105_356);

fn client() -> Client {
    Client::program(Logins::default())
}

fn settings(link: &str) -> Settings {
    let (choices, notices) = link::read(link);
    let (settings, wrong) = Settings::new(&choices, false);
    assert!(notices.is_empty() && wrong.is_empty(), "{notices:?} {wrong:?}");
    settings
}

/// Drives a run to its end. Returns how many requests it sent.
fn drive(run: &mut Run) -> usize {
    let moment = Moment { ms: Millis(0), unix: NOW, random: 0.5 };
    while let Next::Send(send) = run.next(moment) {
        run.deliver(send.id, Ok(demo::respond(&send.request)), moment);
    }
    assert!(run.is_done());
    run.requests()
}

#[test]
fn unreported_history_is_not_a_failure() {
    let settings = settings("?release=demo&channels=tripleo-ci-testing,current-tripleo");
    let plan = Plan::new(&settings, &Files::default()).expect("a plan");
    let grid = Grid::new(&settings, &plan);
    let subject = Subject { settings: &settings, plan: &plan, grid: &grid };
    let mut run = BoardWorkflow::start(subject, client(), Facts::default(), None);
    drive(&mut run);
    let rows = run.summarize().0;
    let stages = stages(&grid, &plan, &rows);
    let mut workflow = BoardWorkflow::new(None, NOW);
    // The demo's registry reports no history, so that nothing is queried, and nothing has failed.
    assert_eq!(workflow.next_need(subject, &run, &rows, &stages, true), Need::Done);
    assert!(workflow.history().is_empty() && workflow.history_failure(&run).is_none());
}

#[test]
fn comparison_queries_common_images_once() {
    let settings_of = |tag: &str| settings(&format!("?release=demo&tag={tag}"));
    let all = settings("?release=demo&channels=current-tripleo,tripleo-ci-testing,consistent");
    let request = |tag: String| {
        let settings = settings_of(&tag);
        let plan = Plan::new(&settings, &Files::default()).expect("a plan");
        Request { tag, settings, plan }
    };
    let requests: Vec<Request> = tags(&all, false).into_iter().map(request).collect();
    assert_eq!(requests.iter().map(|r| r.tag.as_str()).collect::<Vec<_>>(), ["current-tripleo", "tripleo-ci-testing"]);
    let alone = requests[1].clone();
    let mut workflow = CompareWorkflow::new(requests.clone(), None, None, NOW).expect("two sides");
    let mut sent = Vec::new();
    while let CompareNeed::Run(mut run) = workflow.next_need(client(), NOW) {
        sent.push(drive(&mut run));
        workflow.deliver_run(&mut run);
    }
    let mut run = prepare::start(&alone.settings, &alone.plan, client(), Facts::default(), None);
    assert!(sent[1] < drive(&mut run), "{sent:?}: images with a tag of their own are in both sides");
    let sides = workflow.sides().expect("two sides");
    assert_eq!(sides.map(|side| side.name), ["current-tripleo", "tripleo-ci-testing"]);
    let error = CompareWorkflow::new(requests[..1].to_vec(), None, None, NOW).expect_err("one side");
    assert!(error.message.contains("only one side"), "{error}");
}

#[test]
fn snapshot_answers_in_place_of_registry() {
    let settings = settings("?release=demo");
    let plan = Plan::new(&settings, &Files::default()).expect("a plan");
    let mut workflow = SnapshotWorkflow::new(settings.clone(), plan.clone(), true, None);
    let mut run = workflow.start(client(), Facts::default(), None);
    drive(&mut run);
    while let Need::Query(queries) = workflow.next_need(&run) {
        run.refetch(queries);
        drive(&mut run);
    }
    let rows = run.summarize().0;
    let taken = workflow.finish(&run, "?release=demo".to_owned(), None, NOW);
    assert_eq!(taken.fetched(), NOW);
    let read = Snapshot::read(&taken.write().expect("a text"), "snapshot.json").expect("a snapshot");
    let mut again = prepare::start(&settings, &plan, client(), Facts::default(), Some(read.into()));
    assert_eq!(drive(&mut again), 0);
    let tags = |rows: &[Option<std::sync::Arc<overtag::engine::resolve::Row>>], n: usize| {
        rows.iter().flatten().take(n).map(|row| row.tag.clone()).collect::<Vec<_>>()
    };
    assert_eq!(tags(&again.summarize().0, usize::MAX), tags(&rows, plan.images.len()));
}

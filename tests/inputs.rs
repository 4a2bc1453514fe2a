//! Files and links as people write them: nothing in them is ignored silently.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::registry::{Kind, Registry};

fn overtag(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_overtag")).args(args).env("SOURCE_DATE_EPOCH", "1496105356").output().expect("overtag runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder of files.
struct Here(tempfile::TempDir);

impl Here {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).expect("written");
        self.path(name)
    }
}

/// Status and standard error of `list-images` with an environment.
fn with_environment(release: &str, environment: &str, more: &[&str]) -> (Option<i32>, String, usize) {
    let here = Here::new();
    let path = here.write("e.yaml", environment);
    let done = overtag(&[&["list-images", "--release", release, "-e", &path], more].concat());
    (done.status.code(), text(&done.stderr), text(&done.stdout).lines().count())
}

#[test]
fn ignored_environment_settings_are_reported() {
    let prepare = "ContainerImagePrepare:\n  - set: {namespace: registry.example.com/rhosp, tag: '16.1'}\n";
    for (environment, words) in [
        (format!("parameter_defaults:\n  {}", prepare.replace('\n', "\n  ")), "`ContainerImagePrepare` is ignored"),
        (format!("parameters:\n  {}", prepare.replace('\n', "\n  ")), "`ContainerImagePrepare` is ignored"),
        ("parameters: {ControllerCount: 3}".to_owned(), "`ControllerCount` is ignored in `parameters`"),
        ("parameters: {NeutronMechanismDrivers: ovn}".to_owned(), "`NeutronMechanismDrivers` is ignored"),
        (
            "parameter_defaults: {ComputeServices: [OS::TripleO::Services::NovaCompute]}\nparameter_merge_strategies: {ComputeServices: merge}".to_owned(),
            "the merge strategy of `ComputeServices` is not applied",
        ),
        ("parameter_defaults: {ComputeHCICount: 3}".to_owned(), "`ComputeHCICount` is ignored: there is no role ComputeHCI"),
        ("parameters: {ComputeContainerImagePrepare: []}".to_owned(), "`ComputeContainerImagePrepare` is ignored"),
        ("parameter_defaults: {DockerRegistryMirror: 'https://m.example'}".to_owned(), "`DockerRegistryMirror` is ignored"),
        ("parameter_merge_strategies: {default: merge}".to_owned(), "the merge strategy `default` is not applied"),
        ("parameter_defaults: {ControlerCount: 0}".to_owned(), "there is no role Controler"),
        ("parameter_defaults: {ControlerServices: []}".to_owned(), "did you mean Controller?"),
        ("parameter_defaults: {ControllerCount: 1}\nparameter_defaults: {ComputeCount: 1}".to_owned(), "`parameter_defaults` appears twice; the last one is used"),
    ] {
        let (code, said, images) = with_environment("train", &environment, &[]);
        assert!(code == Some(0) && images > 5, "{environment}: {said}");
        assert!(said.contains(words) && said.contains("e.yaml"), "{environment}: {said}");
    }
    for section in ["parameters", "parameter_defaults", "resource_registry"] {
        let (code, said, _) = with_environment("train", &format!("{section}: [x]"), &[]);
        assert!(code == Some(2) && said.contains(&format!("`{section}` is not a mapping")), "{code:?}: {said}");
    }
    // An ordinary environment prints no warning.
    let (code, said, _) = with_environment(
        "train",
        "parameter_defaults: {ControllerCount: 1, NtpServer: x, HeatWorkers: 2, ComputeHCICount: 0}",
        &[],
    );
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let (_, said, _) = with_environment("stein", "parameter_defaults: {ControllerCount: 1}", &["--neutron-driver", "odl"]);
    assert!(said.contains("neutron_driver=odl is ignored"), "{said}");
    let (_, said, _) = with_environment("2017-05", "parameter_defaults: {ControllerCount: 1}", &[]);
    assert!(said.contains("all images are kept"), "{said}");
}

#[test]
fn ignored_roles_file_settings_are_reported() {
    let here = Here::new();
    let query = |release: &str, roles: &str| {
        let path = here.write("roles.yaml", roles);
        let done = overtag(&["list-images", "--release", release, "-r", &path]);
        (done.status.code(), text(&done.stderr))
    };
    let role = "- {name: A, CountDefault: 1, ServicesDefault: [OS::TripleO::Services::NovaApi]}\n";
    assert_eq!(query("train", role), (Some(0), String::new()));
    let (code, said) = query("train", &role.repeat(2));
    assert!(code == Some(0) && said.contains("the role A appears twice"), "{said}");
    let (code, said) = query("queens", role);
    assert!(code == Some(0) && said.contains("the roles file is ignored: queens"), "{said}");
    for wrong in [
        "- {name: A, CountDefault: 1, ServicesDefault: [OS::TripleO::Services::NovaApi, 3]}",
        "- {name: A, CountDefault: 1, ServicesDefault: {a: b}}",
        "- {CountDefault: 1}",
        "name: A",
    ] {
        let (code, said) = query("train", wrong);
        assert!(code == Some(2) && said.contains("roles.yaml"), "{wrong}: {said}");
    }
}

#[test]
fn count_values_agree_with_tripleo_common() {
    // `off` is false to PyYAML, and 0 to Python.
    let count = |value: &str| {
        with_environment("train", &format!("parameter_defaults: {{ControllerCount: {value}, ComputeCount: 0}}"), &[])
    };
    for none in ["off", "0", "'0'", "-1", "00", "false", "0.9"] {
        let (code, said, _) = count(none);
        assert!(code == Some(1) && said.contains("no image is left"), "{none}: {said}");
    }
    for some in ["on", "1", "'1'", "01", "1.5", "0x1"] {
        let (code, said, images) = count(some);
        assert!(code == Some(0) && images > 20, "{some}: {said}");
    }
    for wrong in ["one", "''", "[1]", "~"] {
        let (code, said, _) = count(wrong);
        assert!(code == Some(2) && said.contains("ControllerCount is"), "{wrong}: {said}");
    }
}

#[test]
fn own_template_defines_its_services() {
    let here = Here::new();
    let template = here.write(
        "t.j2",
        "container_images_template:\n- {imagename: 'h.example/a:1', services: [OS::TripleO::Services::NovaApis]}\n\
         - {imagename: 'h.example/b:1', services: [Mine]}\n- {imagename: 'h.example/c:1', services: ['OS::Own::Thing']}\n",
    );
    let list = |more: &[&str]| {
        let done = overtag(&[&["list-images", "--template-file", &template], more].concat());
        (done.status.code(), text(&done.stdout).lines().collect::<Vec<_>>().join(" "), text(&done.stderr))
    };
    for (flags, want) in [
        (&["--service", "NovaApis"][..], "a"),
        (&["--service", "OS::TripleO::Services::NovaApis"], "a"),
        (&["--service", "Mine"], "b"),
        (&["--service", "OS::Own::Thing"], "c"),
        (&["--service", "Mine", "--service", "NovaApis"], "a b"),
        (&["--role", "Mine"], "b"),
        (&["--role", "Mine:0", "--service", "NovaApis"], "a"),
        (&["--role", "Controller", "--service", "Mine"], "b"),
    ] {
        assert_eq!(list(flags), (Some(0), want.to_owned(), String::new()), "{flags:?}");
    }
    let (code, _, said) = list(&["--role", "Nobody"]);
    assert!(code == Some(2) && said.contains("no role `Nobody`"), "{said}");
    // With a built-in template, a misspelt name is reported.
    let done = overtag(&["list-images", "--release", "train", "--service", "NovaApis"]);
    assert!(text(&done.stderr).contains("did you mean NovaApi?"), "{}", text(&done.stderr));
}

#[test]
fn unused_template_settings_are_reported() {
    let here = Here::new();
    here.write("part.j2", "- {imagename: 'h.example/{{ name_prefix }}b:{{ extra }}'}\n");
    let template = here.write(
        "t.j2",
        "container_images_template:\n- {imagename: 'h.example/{{ prefix }}a:{{tag}}', services: [Mine]}\n{% include 'part.j2' %}\n",
    );
    let said = |more: &[&str]| {
        let done =
            overtag(&[&["list-images", "--template-file", &template, "--set", "extra=1", "--set", "prefix=x"], more].concat());
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        text(&done.stderr)
    };
    assert_eq!(said(&[]), "");
    assert_eq!(said(&["--service", "Mine"]), "");
    let reported = said(&["--set", "exrta=2", "--service", "Mine", "--service", "Other"]);
    assert!(reported.contains("the template does not use `exrta`: set.exrta=: leave it out"), "{reported}");
    assert!(reported.contains("no image is listed for the service OS::TripleO::Services::Other"), "{reported}");
    let done = overtag(&["list-images", "--release", "train", "--set", "ceph_imag=x"]);
    assert!(text(&done.stderr).contains("did you mean ceph_image?"), "{}", text(&done.stderr));
}

#[test]
fn misspelt_value_gets_a_suggestion() {
    for (args, words) in [
        (&["list-images", "--release", "trian"][..], "did you mean train?"),
        (&["list-images", "--release", "Wallaby"], "did you mean wallaby?"),
        (&["list-images", "--release", "train", "--role", "Controler"], "did you mean Controller?"),
        (&["list-images", "--link", "?relaese=train"], "did you mean release?"),
        (&["list-images", "--link", "?set.=x"], "a value without a name: set.=x"),
        (&["list-images", "--link", "?=x"], "a value without a name"),
        (&["list-images", "--include", "a{2,1}"], "at least 2 times and at most 1"),
        (&["list-images", "--include", "*"], "nothing to repeat"),
        (&["list-images", "--exclude", "a**"], "repeated already"),
    ] {
        let done = overtag(args);
        assert_eq!(done.status.code(), Some(2), "{args:?}");
        assert!(text(&done.stderr).contains(words), "{args:?}: {}", text(&done.stderr));
    }
    let done = overtag(&["list-images", "--release", "train", "--include", "nova", "--exclude", "api"]);
    assert!(text(&done.stderr).contains("the excludes are ignored"), "{}", text(&done.stderr));
}

#[test]
fn shared_cause_prints_one_line() {
    // The JSON report still has the reason of every image.
    let args = ["prepare", "--release", "train", "--namespace", "127.0.0.1:1/ns", "--exclude", "ceph|prometheus"];
    let done = overtag(&args);
    let said = text(&done.stderr);
    let lines: Vec<&str> = said.lines().filter(|l| l.contains("could not be reached")).collect();
    assert_eq!((done.status.code(), lines.len()), (Some(3), 1), "{said}");
    assert!(lines[0].contains(": 127.0.0.1:1: ns/") && lines[0].contains(" and ") && lines[0].contains(" more"), "{said}");
    assert_eq!(lines[0].matches("current-tripleo").count(), 3, "three images are named: {said}");
    assert!(said.contains(" could not be checked: ") && done.stdout.is_empty(), "{said}");
    let done = overtag(&[&args[..], &["--format", "json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("a report");
    let images = report["images"].as_array().expect("images");
    let reported = |i: &serde_json::Value| i["reason"].as_str().is_some_and(|r| r.contains("could not be reached"));
    assert!(images.len() > 90 && images.iter().all(reported));
}

#[test]
fn discover_accepts_skopeo_image_names() {
    let registry = Registry::scratch();
    registry.push("ns/alpha", &["t", "v1.0"], Kind::Docker, Some(&[("rdo_version", "v1.0")]), 0);
    for scheme in ["", "docker://", "https://"] {
        let image = format!("{scheme}{}/ns/alpha:t", registry.host);
        let done = overtag(&["discover", "--image", &image, "--tag-from-label", "rdo_version"]);
        assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(0), "v1.0\n"), "{image}: {}", text(&done.stderr));
    }
}

/// tripleo-common's own uploader, on the list of images that we wrote: what it pushed, a line an image.
const UPLOAD: &str = r#"
import sys, yaml
from tripleo_common.image import image_uploader as iu
from tripleo_common.utils.locks import threadinglock
iu.PythonImageUploader.lock = threadinglock.ThreadingLock()
for e in yaml.safe_load(open(sys.argv[1]))["container_images"]:
    task = iu.UploadTask(e["imagename"], e.get("pull_source"), e["push_destination"], "", None, None, "none", False)
    # Docker Hub is not here: the registry of the test stands in for it.
    task.source_image_url = iu.BaseImageUploader._image_to_url(task.source_image.replace("docker.io/", sys.argv[2] + "/"))
    try:
        iu.PythonImageUploader().upload_image(task)
        print(task.target_image)
    except Exception as e:
        print("failed", type(e).__name__, e)
"#;

#[test]
fn environment_matches_tripleo_uploader_target() {
    // tripleo-common's own uploader pushes our list. The environment must name what it pushed.
    let (source, target) = (Registry::scratch(), Registry::scratch());
    let python = Path::new("target/tools/venv/bin/python");
    assert!(python.exists(), "the venv with tripleo-common is not there: run .ci/setup page tests");
    let here = Here::new();
    for repo in ["tripleoqueens/alpha", "tripleoqueens/deep/er/beta", "gamma"] {
        source.push(repo, &["t"], Kind::Docker, None, 0);
    }
    let names = ["tripleoqueens/alpha:t", "HOST/tripleoqueens/deep/er/beta:t", "gamma:t"];
    let entry = |i: usize, name: &str| format!("- {{imagename: '{}', params: [P{i}]}}\n", name.replace("HOST", &source.host));
    let entries: String = names.iter().enumerate().map(|(i, name)| entry(i, name)).collect();
    let pulled = format!("- {{imagename: 'tripleoqueens/alpha:t', pull_source: '{}', params: [P3]}}\n", source.host);
    let template = here.write("t.j2", &format!("container_images_template:\n{entries}{pulled}"));
    let (images, environment) = (here.path("i.yaml"), here.path("e.yaml"));
    let to = format!("{}/under/cloud", target.host);
    let write = |template: &str| {
        let args = ["prepare", "--template-file", template, "--no-registry", "--push-destination", &to];
        let done = overtag(&[&args[..], &["--output-images-file", &images, "--output-env-file", &environment]].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stderr)
    };
    let upload = || {
        let done =
            Command::new(python).args(["-W", "ignore", "-c", UPLOAD, &images, &source.host]).output().expect("python runs");
        text(&done.stdout)
    };
    assert_eq!(write(&template), "");
    let pushed = upload();
    let environment_text = fs::read_to_string(&environment).expect("an environment");
    for (i, line) in pushed.lines().enumerate() {
        assert!(environment_text.contains(&format!("  P{i}: {line}\n")), "{line} is not what P{i} names:\n{environment_text}");
        let (name, tag) = line.rsplit_once(':').expect("a tag");
        let path = name.trim_start_matches(&format!("{}/", target.host));
        let url = format!("http://{}/v2/{path}/manifests/{tag}", target.host);
        assert_eq!(ureq::get(&url).header("Accept", "*/*").call().expect("it is there").status(), 200, "{url}");
    }
    assert_eq!(pushed.lines().count(), 4, "{pushed}");

    // The uploader cannot push by digest, which is reported together with what works.
    let digest = source.push("tripleoqueens/alpha", &["t"], Kind::Docker, None, 0);
    let template = here.write(
        "d.j2",
        &format!("container_images_template:\n- {{imagename: '{}/tripleoqueens/alpha@{digest}', params: [P]}}\n", source.host),
    );
    let said = write(&template);
    assert!(said.contains("1 image would be pushed by digest") && said.contains("pin=label,sibling,channel"), "{said}");
    assert!(fs::read_to_string(&environment).expect("a file").contains("# Note: 1 image would be pushed by digest"));
    assert!(upload().starts_with("failed "), "the uploader can do it by now: say so no more");
}
